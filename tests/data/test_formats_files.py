"""Formats other than text: read by what a file holds, with what it says kept."""

import gzip
import io
import json
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import fastavro
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather, orc

from synthmill import registry
from synthmill.config import DataConfig, StorageConfig
from synthmill.data.content import formats
from synthmill.data.files import Files, read_files
from synthmill.data.formats.base import Format
from synthmill.errors import DataError

TABLE = pa.table(
    {
        "age": [77, 42, None],
        "city": ["Bern", "Ulm", "007"],
        "day": pa.array([date(2024, 1, 2), date(2024, 3, 4), None]),
    }
)


def read(path: Path, **options: object) -> Files:
    config = DataConfig.model_validate({"source": str(path), **options})
    return read_files(str(path), config, StorageConfig(), keep_text=frozenset())


def refused(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def ipc(table: pa.Table, *, stream: bool) -> bytes:
    sink = pa.BufferOutputStream()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def write_as(kind: str, path: Path) -> Path:
    if kind == "parquet":
        pq.write_table(TABLE, path)
    elif kind in ("file", "stream"):
        path.write_bytes(ipc(TABLE, stream=kind == "stream"))
    elif kind == "feather":
        feather.write_feather(TABLE, path)
    elif kind == "orc":
        orc.write_table(TABLE, path)
    else:
        fields: list[Any] = [
            {"name": "age", "type": ["null", "long"]},
            {"name": "city", "type": "string"},
            {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
        ]
        schema = {"type": "record", "name": "row", "fields": fields}
        with path.open("wb") as out:
            fastavro.writer(out, schema, TABLE.to_pylist())
    return path


KINDS = ("parquet", "file", "stream", "feather", "orc", "avro")


@pytest.mark.parametrize("kind", KINDS)
def test_typed_formats_under_any_name(tmp_path: Path, kind: str) -> None:
    """`007` stays text: these formats say what is text."""
    found = read(write_as(kind, tmp_path / "rows"))
    assert found.table.to_pydict() == TABLE.to_pydict()
    assert found.table.schema.field("age").type == pa.int64()
    assert found.notes == ()
    named = write(tmp_path / "rows.csv", (tmp_path / "rows").read_bytes())
    again = read(named)
    assert again.table.equals(found.table)
    assert again.sha256 == found.sha256
    assert again.notes[0].startswith("rows.csv holds ")
    assert again.notes[0].endswith("not CSV, and is read as that; rename it")
    packed = write(tmp_path / "rows.gz", gzip.compress(named.read_bytes()))
    assert read(packed).table.equals(found.table)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_one_line(tmp_path: Path, kind: str) -> None:
    path = write_as(kind, tmp_path / "rows")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "rows can't be read as " in refused(path)


def test_text_named_as_another_format(tmp_path: Path) -> None:
    found = read(write(tmp_path / "rows.parquet", "a,b\n1,x\n2,y\n"))
    assert found.table.num_rows == 2
    assert found.notes == ("rows.parquet holds CSV, not Parquet, and is read as that; rename it",)
    message = refused(write(tmp_path / "rows.xlsx", bytes(range(256))))
    assert "rows.xlsx can't be read as an Excel workbook (it begins with 00010203)" in message


def test_every_format_says_its_endings_once() -> None:
    endings = [ending for found in formats() for ending in found.shown.endings]
    assert len(endings) == len(set(endings))
    assert len(formats()) == len(registry.names("data/formats"))
    assert all(issubclass(found, Format) for found in formats())


LINES = [{"age": 77, "city": "Bern", "day": "2024-01-02"}, {"age": 42, "city": "007", "day": "2024-03-04"}]


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(map(json.dumps, LINES)),
        "\ufeff" + "\n\n".join(map(json.dumps, LINES)) + "\n",
        json.dumps(LINES),
        json.dumps(LINES, indent=2),
        json.dumps({"data": LINES, "next": None}),
        json.dumps({key: [line[key] for line in LINES] for key in LINES[0]}),
        pd.DataFrame(LINES).to_json(),
        pd.DataFrame(LINES).to_json(orient="split"),
        pd.DataFrame(LINES).to_json(orient="records", lines=True),
        pd.DataFrame(LINES).to_json(orient="table"),
    ],
)
def test_json(tmp_path: Path, content: str) -> None:
    for name in ("rows.jsonl", "rows.csv"):
        found = read(write(tmp_path / name, content))
        assert [{key: row[key] for key in LINES[0]} for row in found.table.to_pylist()] == [
            {**line, "day": date.fromisoformat(str(line["day"]))} for line in LINES
        ]
        assert bool(found.notes) == (name == "rows.csv")


def test_json_keeps_what_its_values_are(tmp_path: Path) -> None:
    lines = [
        {"whole": 1, "share": 1, "big": 2**63 + 1, "huge": 2**70, "text": "1.50", "yes": True, "some": 1},
        {"whole": 2, "share": 2.5, "big": 3, "huge": 1, "text": "2.00", "yes": None},
    ]
    table = read(write(tmp_path / "rows.jsonl", "\n".join(map(json.dumps, lines)))).table
    assert table.to_pylist() == [
        {**lines[0], "share": 1.0, "huge": str(2**70)},
        {**lines[1], "huge": "1", "some": None},
    ]
    assert table.schema.field("big").type == pa.uint64()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}\n{"a": 2\n{"a": 3}\n', "line 2 of rows.jsonl is not a JSON object (Expecting"),
        ('{"a": 1}\n{"a": 2},\n', "line 2 of rows.jsonl is not a JSON object (Extra data"),
        ('{"a": 1}\n[1]\n', "line 2 of rows.jsonl is an array, not an object"),
        ('{"a": 1, "a": 2}\n{"a": 3}\n', "line 1 of rows.jsonl is not a JSON object (two values named 'a'"),
        ("[[1, 2], [3, 4]]", "rows.jsonl holds an array, not a table"),
        ('{"a": {"b": 1}, "c": 3}', "rows.jsonl is an object that holds no table"),
        ('[{"a": 1}, {"a": 2', "rows.jsonl is not JSON"),
    ],
)
def test_json_at_fault(tmp_path: Path, content: str, message: str) -> None:
    assert message in refused(write(tmp_path / "rows.jsonl", content))


def test_json_of_mixed_cells_is_text_as_written(tmp_path: Path) -> None:
    table = read(write(tmp_path / "rows.jsonl", '{"a": 1.50}\n{"a": "n/a"}\n{"a": true}\n')).table
    assert table["a"].to_pylist() == ["1.5", "n/a", "true"]


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


ROWS: list[list[Any]] = [
    ["id", "share", "name", "day", "at", "ok", "from", "took", "empty"],
    [1, 1, "007", date(2024, 1, 2), datetime(2024, 1, 2, 3, 4), True, time(3, 4), timedelta(hours=30), None],
    [2, 2.5, None, date(2024, 1, 3), datetime(2024, 1, 3), False, time(5), timedelta(hours=2), None],
]


def test_excel_cells_keep_their_types(tmp_path: Path) -> None:
    for name in ("book.xlsx", "book", "book.csv"):
        found = read(workbook(tmp_path / name, data=ROWS))
        kinds = [str(kind) for kind in found.table.schema.types]
        assert kinds[:6] == ["int64", "double", "string", "date32[day]", "timestamp[us]", "bool"]
        assert kinds[6:8] == ["time64[us]", "duration[us]"]
        assert found.table["name"].to_pylist() == ["007", None]
        assert found.table["at"].to_pylist() == [datetime(2024, 1, 2, 3, 4), datetime(2024, 1, 3)]
        assert bool(found.notes) == (name == "book.csv")


def test_excel_sheets(tmp_path: Path) -> None:
    other = [["x"], [1], [2]]
    path = workbook(tmp_path / "book.xlsx", notes=[], data=ROWS, other=other)
    found = read(path)
    assert found.table.num_columns == 9
    assert found.notes == ("book.xlsx: sheet 'data' is read, not 'other'; set data.sheet for another",)
    assert read(path, sheet="other").table.to_pydict() == {"x": [1, 2]}
    assert "data.sheet: book.xlsx has no sheet named 'othr'; did you mean 'other'?" in refused(
        path, sheet="othr"
    )
    assert "book.xlsx is empty" in refused(workbook(tmp_path / "book.xlsx", a=[]))


def test_excel_has_titles_totals_and_headers_too(tmp_path: Path) -> None:
    rows = [["Region", "Kind", "Pay"], ["N", "a", 1], ["S", "b", 2]]
    path = workbook(tmp_path / "book.xlsx", a=[["Sales 2024"], [], *rows, ["Total", None, 3]])
    found = read(path)
    assert found.table.to_pydict() == {"Region": ["N", "S"], "Kind": ["a", "b"], "Pay": [1, 2]}
    assert len(found.notes) == 2
    path = workbook(tmp_path / "book.xlsx", a=[[77, "Bern", 3.5], [42, "Bern", 4.5], [50, "Ulm", 3.9]])
    assert "book.xlsx begins with what looks like a row" in refused(path)
    assert read(path, columns=["age", "city", "pay"]).table["age"].to_pylist() == [77, 42, 50]
    mixed = workbook(tmp_path / "book.xlsx", a=[["x"], [1], ["n/a"], [2.5]])
    assert read(mixed).table["x"].to_pylist() == ["1", "n/a", "2.5"]
    assert read(mixed, null_values=["n/a"]).table["x"].to_pylist() == [1.0, None, 2.5]


@pytest.mark.parametrize(("module", "name"), [("python_calamine", "excel"), ("fastavro", "avro")])
def test_a_missing_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    path = tmp_path / "rows"
    if name == "excel":
        workbook(path, a=ROWS)
    else:
        write_as(name, path)
    monkeypatch.setitem(__import__("sys").modules, module, None)
    assert f"pip install 'synthmill[{name}]'" in refused(path)


def save_to_disk(root: Path, table: pa.Table, **features: Any) -> None:
    """As Hugging Face's `Dataset.save_to_disk` writes it."""
    root.mkdir(parents=True)
    said = json.dumps({"info": {"features": features}})
    (root / "data-00000-of-00001.arrow").write_bytes(
        ipc(table.replace_schema_metadata({"huggingface": said}), stream=True)
    )
    (root / "cache-0123456789abcdef.arrow").write_bytes(ipc(table.slice(0, 1), stream=True))
    (root / "dataset_info.json").write_text(json.dumps({"features": features}))
    (root / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))


def test_hugging_face_dataset_folders(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "one", TABLE)
    found = read(tmp_path / "one")
    assert found.table.to_pydict() == TABLE.to_pydict()
    assert found.notes == ()
    for split in ("train", "test"):
        save_to_disk(tmp_path / "two" / split, TABLE)
    (tmp_path / "two" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    found = read(tmp_path / "two")
    assert found.table.num_rows == 6
    assert "has the splits test, train, and all are read" in found.notes[0]
    assert read(tmp_path / "two" / "train").table.num_rows == 3


def test_a_folder_of_one_kind(tmp_path: Path) -> None:
    for i in range(2):
        write(tmp_path / f"{i}.jsonl", "\n".join(map(json.dumps, LINES)))
    assert read(tmp_path).table.num_rows == 4
    write(tmp_path / "x.arrow", ipc(TABLE, stream=False))
    assert "holds both Arrow and JSON files; name one kind" in refused(tmp_path)


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert "two columns named 'a'" in refused(write(tmp_path / "x.arrow", ipc(twice, stream=True)))
    buffer = io.BytesIO()
    pq.write_table(twice, buffer)
    assert "two columns named 'a'" in refused(write(tmp_path / "x.parquet", buffer.getvalue()))
