"""Every format that can be read in blocks gives what reading the file whole gives, odd columns and faults
included."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, orc

from columns_styles import ROWS as STYLED_ROWS
from columns_styles import STYLES
from odd_tables import odd_table
from synthmill.config import DataConfig
from synthmill.data.formats import _json_blocks, arrow, avro
from synthmill.data.formats import orc as orc_format
from synthmill.data.formats.base import WholeError
from synthmill.data.readers.base import read_source, scan_source
from synthmill.data.scan import scan as scanning
from synthmill.data.scan import sides
from synthmill.data.scan.scan import Block, Scan, Terms
from synthmill.errors import DataError
from tables import customers


class Everything:
    """A consumer that keeps nothing."""

    def __init__(self, terms: Terms) -> None:
        self.rows = 0

    def add(self, block: Block) -> None:
        self.rows += block.table.num_rows

    def accepts(self, terms: Terms) -> bool:
        return True


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, probes and samples far smaller than the tables here."""
    for module in (arrow, avro, orc_format):
        monkeypatch.setattr(module, "BLOCK_ROWS", 700)
    monkeypatch.setattr(_json_blocks, "BLOCK_BYTES", 40_000)
    monkeypatch.setattr(scanning, "PROBE_ROWS", 200)
    for module in (scanning, sides):
        monkeypatch.setattr(module, "SAMPLE_ROWS", 1_000)


def settled(source: object) -> Scan:
    scan = scan_source(DataConfig(source=str(source)))
    assert scan.settle(Everything).rows == scan.num_rows
    return scan


def assert_same(source: object) -> None:
    scan, read = settled(source), read_source(DataConfig(source=str(source)))
    assert pa.Table.from_batches(list(scan.batches()), scan.schema).equals(read.table)
    assert scan.schema.equals(read.table.schema, check_metadata=True)
    assert (scan.sha256, scan.num_rows) == (read.sha256, read.table.num_rows)
    assert uncounted(scan.notes) == uncounted(read.notes)


def uncounted(notes: tuple[str, ...]) -> list[str]:
    """Notes without numbers of rows, which a scan knows of its sample alone."""
    return [re.sub(r"\([\d,]+ rows\)| \(in a sample of [\d,]+ rows\)", "", note) for note in notes]


def styled() -> pa.Table:
    """A column in each style that people have, long enough for several blocks."""
    kept = {name: style.cells for name, style in STYLES.items() if style.refused is None}
    return pa.table({name: cells * 5 for name, cells in kept.items() if len(cells) == STYLED_ROWS})


def as_json(path: Path, table: pa.Table) -> Path:
    lines = [json.dumps(row, ensure_ascii=False, default=str) for row in table.to_pylist()]
    data = ("\n".join(lines) + "\n").encode()
    if path.suffix == ".gz":
        with pa.output_stream(str(path), compression="gzip") as out:
            out.write(data)
    else:
        path.write_bytes(data)
    return path


def as_avro(path: Path, table: pa.Table) -> Path:
    rows = table.to_pylist()
    kinds = {pa.int64(): "long", pa.float64(): "double", pa.string(): "string", pa.bool_(): "boolean"}
    fields = [{"name": f"f{i}", "type": ["null", kinds[one.type]]} for i, one in enumerate(table.schema)]
    with path.open("wb") as out:
        named = [{f"f{i}": value for i, value in enumerate(row.values())} for row in rows]
        schema = {"type": "record", "name": "row", "fields": fields}
        fastavro.writer(out, schema, named, sync_interval=20_000)
    return path


def write(path: Path, table: pa.Table) -> Path:
    if path.name.endswith((".jsonl", ".gz")):
        return as_json(path, table)
    if path.suffix == ".orc":
        orc.write_table(table, str(path), stripe_size=4096)
    elif path.suffix == ".feather":
        feather.write_feather(table, str(path), chunksize=500)
    elif path.suffix == ".arrows":
        with pa.ipc.new_stream(str(path), table.schema) as out:
            out.write_table(table, max_chunksize=1_900)
    else:
        return as_avro(path, table)
    return path


FORMATS = ("rows.jsonl", "rows.jsonl.gz", "rows.orc", "rows.feather", "rows.arrows", "rows.avro")
TABLES: dict[str, Callable[[], pa.Table]] = {
    "customers": lambda: customers(3_000),
    "odd": odd_table,
    "styled": styled,
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("table", TABLES)
def test_blocks_give_what_reading_the_file_whole_gives(
    name: str, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = TABLES[table]()
    if table == "styled":
        # How often each of several spellings is written follows from the sample: here of all rows.
        for module in (scanning, sides):
            monkeypatch.setattr(module, "SAMPLE_ROWS", 2 * made.num_rows)
        # They take long, and CSV and Parquet are tested with all: each format gets its part.
        made = made.select(made.column_names[FORMATS.index(name) :: len(FORMATS)])
    if name.endswith(".avro"):
        plain = (pa.int64(), pa.float64(), pa.string(), pa.bool_())
        made = made.select([one.name for one in made.schema if one.type in plain])
    assert_same(write(tmp_path / name, made))


def test_a_hugging_face_folder(tmp_path: Path) -> None:
    rows = tmp_path / "saved"
    for part in range(3):
        rows.mkdir(exist_ok=True)
        write(rows / f"data-0000{part}-of-00003.arrows", customers(3_000).slice(1_000 * part, 1_000)).rename(
            rows / f"data-0000{part}-of-00003.arrow"
        )
    (rows / "state.json").write_text('{"_fingerprint": "1"}')
    (rows / "dataset_info.json").write_text('{"description": "x"}')
    assert_same(rows)


def late(value: str, rows: int = 3_000) -> str:
    """Lines whose last but one has another value than all before."""
    lines = [json.dumps({"a": i % 7, "b": float(i % 11), "c": f"c{i % 3}"}) for i in range(rows)]
    return "\n".join([*lines[:-2], value, lines[-1]]) + "\n"


@pytest.mark.parametrize(
    "value",
    [
        '{"a": 0.5, "b": 1, "c": null}',
        '{"a": 9223372036854775808, "b": 1.5, "c": "c1"}',
        '{"a": 18446744073709551616, "b": 9007199254740993, "c": "c1"}',
        '{"b": 1e300, "c": "c1", "d": true}',
        '{"a": 1, "b": 2, "c": "2024-01-31"}',
        '{"a": "3", "b": 2, "c": "c2"}',
        '{"a": 1, "b": false, "c": 7.50}',
        "{}",
        "",
    ],
)
def test_a_late_value_of_json_decides_what_its_column_is(value: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(late(value))
    if "false" in value:
        faults = []
        for read in (lambda: settled(path), lambda: read_source(DataConfig(source=str(path)))):
            with pytest.raises(DataError) as fault:
                read()
            faults.append(str(fault.value))
        assert faults[0] == faults[1]
        return
    assert_same(path)


def test_dates_of_json_are_dates_unless_a_late_one_is_none(tmp_path: Path) -> None:
    days = (np.datetime64("2020-01-01") + np.arange(3_000) % 900).astype(str).tolist()
    lines = [json.dumps({"day": day, "x": i % 5}) for i, day in enumerate(days)]
    (tmp_path / "dates.jsonl").write_text("\n".join(lines))
    assert settled(tmp_path / "dates.jsonl").schema.field("day").type == pa.date32()
    assert_same(tmp_path / "dates.jsonl")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('{"a": 1, "b"', r"line 2999 of rows\.jsonl is not a JSON object"),
        ("[1, 2]", r"line 2999 of rows\.jsonl is an array, not an object"),
        ('{"a": 1, "a": 2}', r"line 2999 of rows\.jsonl is not a JSON object \(two values named 'a'"),
        ('{"c": "\\ud800"}', r"rows\.jsonl can't be read as JSON"),
    ],
)
def test_damaged_lines_are_named(value: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(late(value))
    for read in (read_source, scan_source):
        with pytest.raises(DataError, match=message):
            read(DataConfig(source=str(path)))


@pytest.mark.parametrize(
    "text", ['[{"a": 1}, {"a": 2}]', '{"a": [1, 2], "b": [3, 4]}', '{\n"a": 1}\n{\n"a": 2}\n']
)
def test_json_documents_are_read_whole(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(WholeError, match="is a JSON document, not one object a line"):
        scan_source(DataConfig(source=str(tmp_path / "rows.json")))


def test_a_value_of_nested_json_is_refused_alike(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"x": i % 9, "deep": {"a": i}}) + "\n" for i in range(3_000)))
    faults = []
    for read in (lambda: settled(path), lambda: read_source(DataConfig(source=str(path)))):
        with pytest.raises(DataError) as fault:
            read()
        faults.append(str(fault.value))
    assert faults[0] == faults[1]


@pytest.mark.parametrize("value", ["text", 0.5])
def test_avro_of_several_types_is_refused_alike(value: object, tmp_path: Path) -> None:
    kinds = [{"name": "a", "type": ["long", "double", "string"]}, {"name": "b", "type": "long"}]
    rows = [{"a": 2**53 + 1 + i, "b": i % 9} for i in range(3_000)]
    with (tmp_path / "rows.avro").open("wb") as out:
        fastavro.writer(
            out, {"type": "record", "name": "row", "fields": kinds}, [*rows, {"a": value, "b": 1}]
        )
    for read in (read_source, lambda config: settled(config.source)):
        with pytest.raises(DataError, match=r"rows\.avro: .*column .*holds values of several types"):
            read(DataConfig(source=str(tmp_path / "rows.avro")))


def test_record_batches_too_large_to_hold_are_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow, "LARGEST_BATCH", 1_000)
    with pytest.raises(WholeError, match=r"rows\.feather has record batches of"):
        settled(write(tmp_path / "rows.feather", customers(3_000)))
