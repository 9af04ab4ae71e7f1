"""Rows in memory, whichever library holds them."""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import synthmill
from synthmill.config import DataConfig
from synthmill.errors import DataError
from synthmill.library.frames import MEMORY, read_frame, to_table

ROWS = {"age": [31, 47, None, 25] * 5, "plan": ["pro", "basic", "pro", None] * 5}
CONFIG = DataConfig(source=MEMORY, kind="table")


def frames() -> dict[str, object]:
    rows = pa.table(ROWS)
    return {
        "pyarrow": rows,
        "reader": rows.to_reader(),
        "pandas": pd.DataFrame({"age": pd.array(ROWS["age"], dtype="Int64"), "plan": ROWS["plan"]}),
        "polars": pl.DataFrame(ROWS),
        "duckdb": duckdb.sql("SELECT * FROM rows"),
    }


@pytest.mark.parametrize("library", ["pyarrow", "reader", "pandas", "polars", "duckdb"])
def test_every_library_gives_the_same_source(library: str) -> None:
    source = read_frame(frames()[library], CONFIG, field="data")  # type: ignore[arg-type]
    assert source.table.to_pydict() == ROWS
    assert source.uri == MEMORY
    if library != "pandas":  # Its strings are large strings: another type, so another content.
        assert source.sha256 == read_frame(pa.table(ROWS), CONFIG, field="data").sha256


def test_a_data_frames_index_is_no_column() -> None:
    frame = pd.DataFrame({"age": [1, 2, 3], "name": ["a", "b", "c"]})
    for index in (frame.index, pd.Index([7, 8, 9]), pd.Index(["x", "y", "z"], name="key")):
        assert to_table(frame.set_index(index), field="data").column_names == ["age", "name"]
    leaked = pa.Table.from_pandas(frame, preserve_index=True)
    assert "__index_level_0__" in leaked.column_names
    assert to_table(leaked, field="data").column_names == ["age", "name"]


def test_a_filtered_frame_samples_no_index() -> None:
    frame = pd.DataFrame({"age": np.arange(200) % 60, "plan": ["pro", "basic"] * 100})
    model = synthmill.fit(frame[frame.age > 5], model="marginals")
    assert model.sample(5, seed=1).to_pandas().columns.tolist() == ["age", "plan"]


def test_categories_come_out_as_text() -> None:
    frame = pd.DataFrame({"plan": pd.Categorical(["pro", "basic"] * 60), "age": range(120)})
    assert set(synthmill.fit(frame, model="marginals").sample(50, seed=1)["plan"].to_pylist()) == {
        "pro",
        "basic",
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (7, "data: expected a table .* got int"),
        (pd.Series([1, 2]), "data: can't be read as a table: expected a DataFrame, got a Series"),
        (pd.DataFrame({"a": [1, "x"]}), "data: can't be read as a table: .*"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), "data: .*(two columns|Duplicate column).*"),
        (pa.table({"a": [1]}), "data: the table has one row"),
        (pa.table({"a": pa.array([], pa.int64())}), "data: the table has no rows"),
        (pa.table({"a": [None, None]}), "data: column 'a' holds only missing values"),
        (pa.table({"a": [[1], [2]]}), "data: column 'a' is of type list<.*>, which no model here can learn"),
    ],
)
def test_what_is_no_table_is_one_line_that_says_so(data: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        synthmill.fit(data)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert "/tmp" not in str(caught.value)


def test_a_wrong_target_names_the_right_one() -> None:
    with pytest.raises(DataError, match=r"data.target: no column named 'plam'; did you mean 'plan'\?"):
        synthmill.fit(pa.table(ROWS), target="plam")


def test_a_path_is_a_source(tmp_path: Path) -> None:
    path = tmp_path / "My Plans.parquet"
    pq.write_table(pa.table({"age": list(range(300)), "plan": ["pro", "basic", "team"] * 100}), path)
    model = synthmill.fit(path, model="marginals")
    assert model.name == "my-plans"
    assert model.recipe.data.source == str(path)
    assert model.artifact.config["split"]["counts"]["holdout"] > 0


def test_rows_in_memory_are_all_used(tmp_path: Path) -> None:
    model = synthmill.fit(pa.table({"a": [i % 60 for i in range(300)]}), model="marginals")
    assert model.artifact.config["split"]["counts"] == {"train": 270, "validation": 30, "holdout": 0}


def test_a_frame_comes_back_with_its_own_types() -> None:
    rows = 300
    frame = pd.DataFrame(
        {
            "size": pd.Categorical(["S", "M", "L"] * 100, categories=["S", "M", "L", "XL"], ordered=True),
            "n": pd.array([None if i % 7 == 0 else i % 50 for i in range(rows)], dtype="Int64"),
            "month": pd.period_range("2000-01", periods=rows, freq="M"),
            "length": pd.to_timedelta([i % 90 for i in range(rows)], unit="min"),
        }
    )
    made = synthmill.fit(frame, model="marginals").sample(50, seed=1).to_pandas()
    assert made.dtypes.to_dict() == frame.dtypes.to_dict()
    assert list(made["size"].cat.categories) == ["S", "M", "L", "XL"]


def test_views_of_strings_and_seconds_of_the_day_stay_so() -> None:
    seconds = pa.array([i * 60 for i in range(300)], pa.int32()).cast(pa.time32("s"))
    words = pa.array(["a", "b", "c"] * 100, pa.string_view())
    coded = pa.DictionaryArray.from_arrays(
        pa.array([0, 1] * 150, pa.uint8()), pa.array(["x", "y"], pa.string_view())
    )
    table = pa.table({"at": seconds, "word": words, "coded": coded})
    made = synthmill.fit(table, model="marginals").sample(50, seed=1)
    assert made.schema.field("at").type == pa.time32("s")
    assert set(made["coded"].to_pylist()) == {"x", "y"}


def test_intervals_are_refused_in_one_line() -> None:
    frame = pd.DataFrame({"band": pd.cut(pd.Series(range(100)), 5), "x": range(100)})
    with pytest.raises(DataError, match=r"column 'band' is of type struct<.*>, which no model"):
        synthmill.fit(frame, model="marginals")


def test_the_card_says_what_was_decided() -> None:
    rows = range(300)
    numbers = [float("inf") if i % 9 == 0 else i / 7 for i in rows]
    rare = pa.table({"x": numbers, "y": [2 if i < 3 else i % 2 for i in rows]})
    model = synthmill.fit(rare, target="y", model="marginals", overrides={"data.rare_target": "keep"})
    assert "infinite values are learnt as values of their own" in model.artifact.card
    assert "**classes of the target that few people share are kept**" in model.artifact.card
