"""What a source's schema says beyond plain types, from its file to published rows."""

import io
import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthmill.config import DataConfig
from synthmill.data.codecs.base import codec_from_files
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.origin import Form, attach, joined, origin_of
from synthmill.data.readers.base import Source, read_source

ROWS = 200
DRAWS = np.random.default_rng(0)


def read(path: Path, **options: object) -> Source:
    return read_source(DataConfig.model_validate({"source": str(path), **options}))


def published(source: Source, names: list[str] | None = None) -> pa.Table:
    """Rows of the source, encoded and decoded, as a dataset's file holds them and a reader gets them."""
    config = DataConfig(source="x")
    fitted = MixedCodec.fit(source.table, config, source.rules)
    files = fitted.to_files()
    codec = codec_from_files(json.loads(json.dumps(files[0])), files[1])
    rows = codec.decode(codec.encode(source.table), first_row=0)
    names = names or rows.column_names
    out = io.BytesIO()
    pq.write_table(codec.form.select(names).write(rows.select(names)), out)
    return pq.read_table(pa.BufferReader(out.getvalue()))


def frame() -> pd.DataFrame:
    sizes = pd.Categorical(DRAWS.choice(["S", "M", "L"], ROWS), ["S", "M", "L", "XL"], ordered=True)
    return pd.DataFrame({"size": sizes, "x": DRAWS.normal(size=ROWS)})


def test_categories_with_order_and_unused_levels(tmp_path: Path) -> None:
    data = frame()
    data["grade"] = pd.Categorical(DRAWS.choice([1, 2, 3], ROWS))
    data["seen"] = pd.array(DRAWS.integers(0, 2, ROWS).astype(bool), "boolean")
    data["count"] = pd.array([*DRAWS.integers(0, 5, ROWS - 1), None], "Int64")
    data.to_parquet(tmp_path / "in.parquet")
    source = read(tmp_path / "in.parquet")
    assert source.table.schema.field("size").type == pa.string()
    found = published(source).to_pandas()
    expected = pd.read_parquet(tmp_path / "in.parquet")
    assert found.dtypes.to_dict() == expected.dtypes.to_dict()
    assert found["size"].dtype == pd.CategoricalDtype(["S", "M", "L", "XL"], ordered=True)


def test_rare_levels_that_are_folded_are_not_named_in_the_schema(tmp_path: Path) -> None:
    data = frame()
    data["name"] = pd.Categorical(
        ["rare person", *DRAWS.choice(["a", "b"], ROWS - 1)], ["rare person", "b", "a", "c"]
    )
    data.to_parquet(tmp_path / "in.parquet")
    table = published(read(tmp_path / "in.parquet"))
    assert list(table.to_pandas()["name"].dtype.categories) == ["b", "a", "c"]
    assert b"rare person" not in table.schema.serialize().to_pybytes()


def test_categories_of_many_files_are_one_list(tmp_path: Path) -> None:
    for number, levels in enumerate((["a", "b"], ["b", "c"])):
        cells = pd.Categorical(levels * 50, levels)
        pd.DataFrame({"c": cells, "x": DRAWS.normal(size=100)}).to_parquet(tmp_path / f"{number}.parquet")
    found = published(read(tmp_path)).to_pandas()
    assert list(found["c"].dtype.categories) == ["a", "b", "c"]


def test_an_index_without_a_name_is_left_out_with_a_note(tmp_path: Path) -> None:
    data = frame()[lambda rows: rows.x > 0]
    data.to_parquet(tmp_path / "in.parquet")
    source = read(tmp_path / "in.parquet")
    assert source.table.column_names == ["size", "x"]
    assert source.notes == (
        "in.parquet: the data frame's index has no name and is left out; reset_index() makes it a column",
    )
    found = published(source).to_pandas()
    assert list(found.columns) == ["size", "x"]
    assert found.index.equals(pd.RangeIndex(len(data)))


def test_an_index_with_a_name_is_an_index_again(tmp_path: Path) -> None:
    data = frame()
    data.index = pd.Index(DRAWS.choice(["N", "S"], ROWS), name="region")
    data.attrs["secret"] = "anything"
    data.to_parquet(tmp_path / "in.parquet")
    table = published(read(tmp_path / "in.parquet"))
    assert table.to_pandas().index.name == "region"
    assert list(table.to_pandas().columns) == ["size", "x"]
    assert b"anything" not in table.schema.metadata[b"pandas"]
    alone = published(read(tmp_path / "in.parquet"), ["x"]).to_pandas()
    assert list(alone.columns) == ["x"]


def test_class_labels_of_hugging_face(tmp_path: Path) -> None:
    features = {
        "grade": {"_type": "ClassLabel", "names": ["low", "high"]},
        "x": {"dtype": "float64", "_type": "Value"},
    }
    said = json.dumps({"info": {"features": features, "description": "of 200 patients"}})
    table = pa.table({"grade": DRAWS.integers(0, 2, ROWS), "x": DRAWS.normal(size=ROWS)})
    pq.write_table(table.replace_schema_metadata({"huggingface": said}), tmp_path / "in.parquet")
    found = published(read(tmp_path / "in.parquet"))
    assert json.loads(found.schema.metadata[b"huggingface"]) == {"info": {"features": features}}
    part = published(read(tmp_path / "in.parquet"), ["x"])
    assert json.loads(part.schema.metadata[b"huggingface"])["info"]["features"] == {"x": features["x"]}


def test_extension_types_nullability_and_field_metadata(tmp_path: Path) -> None:
    keys = pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([uuid.UUID(int=i << 64).bytes for i in range(ROWS)], pa.binary(16))
    )
    flags = pa.ExtensionArray.from_storage(pa.bool8(), pa.array(DRAWS.integers(0, 2, ROWS), pa.int8()))
    texts = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}', "[]"] * (ROWS // 2)))
    schema = pa.schema(
        [
            pa.field("key", pa.uuid(), nullable=False),
            pa.field("flag", pa.bool8()),
            pa.field("said", pa.json_()),
            pa.field("x", pa.float64(), metadata={"unit": "kg"}),
        ]
    )
    pq.write_table(
        pa.Table.from_arrays([keys, flags, texts, pa.array(DRAWS.normal(size=ROWS))], schema=schema),
        tmp_path / "in.parquet",
    )
    source = read(tmp_path / "in.parquet")
    assert [str(kind) for kind in source.table.schema.types] == ["string", "bool", "string", "double"]
    found = published(source)
    assert found.schema.equals(schema, check_metadata=True)
    assert found["said"].combine_chunks().storage.to_pylist()[:2] == ['{"a": 1}', "[]"]
    assert isinstance(found["key"][0].as_py(), uuid.UUID)
    assert not set(found["key"].to_pylist()) & set(keys.to_pylist())


def test_a_plain_source_says_nothing_more(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ["x", "y"] * 50, "b": DRAWS.normal(size=100)}), tmp_path / "in.parquet")
    source = read(tmp_path / "in.parquet")
    assert source.table.schema.metadata is None
    codec = MixedCodec.fit(source.table, DataConfig(source="x"), {})
    assert "form" not in codec.to_files()[0]
    assert codec.form.schema is codec.schema


def test_a_schema_file_that_makes_another_type_wins(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "in.parquet")
    (tmp_path / "s.yaml").write_text("columns: {size: {kind: drop}, x: {kind: numeric}}")
    source = read(tmp_path / "in.parquet", schema=str(tmp_path / "s.yaml"))
    assert published(source).column_names == ["x"]


def test_real_rows_may_have_levels_that_the_form_does_not_know() -> None:
    levels: list[Any] = ["a", "b"]
    kind = pa.dictionary(pa.int8(), pa.string(), ordered=True)
    form = Form(pa.schema([("c", kind)]), {"c": levels}, is_described=True)
    found = form.write(pa.table({"c": ["b", "z", None]}))
    assert found["c"].to_pylist() == ["b", "z", None]
    assert found["c"].chunk(0).dictionary.to_pylist() == ["a", "b", "z"]


def test_the_origin_survives_a_split_and_a_filter() -> None:
    table = pa.table({"c": pa.array(["a", "b"]).dictionary_encode()})
    plain = attach(table.cast(pa.schema([("c", pa.string())])), joined([table]))
    kept = plain.filter(pa.array([True, False])).slice(0, 1)
    origin = origin_of(kept.schema)
    assert origin is not None
    assert pa.types.is_dictionary(origin.field("c").type)


@pytest.mark.parametrize("kind", [pa.date32(), pa.float64()])
def test_dictionaries_of_other_values_are_plain(kind: pa.DataType) -> None:
    cells = pa.array([1, 2, 1], pa.int32()).cast(kind) if kind == pa.date32() else pa.array([1.5, 2.5, 1.5])
    table = pa.table({"c": cells.dictionary_encode()})
    assert joined([table]).field("c").name == "c"
