"""Scans: block by block they give the table that reading a source whole gives, name the same faults, and
notice a source that changes."""

import gzip
import lzma
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from synthmill.config import DataConfig
from synthmill.data.formats import _csv_blocks, parquet
from synthmill.data.formats.base import WholeError
from synthmill.data.readers.base import Source, read_source, scan_source
from synthmill.data.scan import scan as scanning
from synthmill.data.scan import sides
from synthmill.data.scan.scan import Block, Scan, Terms
from synthmill.errors import DataError
from tables import customers

ROWS = 3_000


class Everything:
    """A consumer that keeps what it is given."""

    def __init__(self, terms: Terms) -> None:
        self.rows = 0

    def add(self, block: Block) -> None:
        assert block.first_row == self.rows
        self.rows += block.table.num_rows

    def accepts(self, terms: Terms) -> bool:
        return True


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, probes and samples far smaller than the tables here."""
    monkeypatch.setattr(parquet, "BLOCK_ROWS", 700)
    monkeypatch.setattr(_csv_blocks, "BLOCK_BYTES", 40_000)
    monkeypatch.setattr(scanning, "PROBE_ROWS", 200)
    for module in (scanning, sides):
        monkeypatch.setattr(module, "SAMPLE_ROWS", 1_000)


def settled(source: object, **options: object) -> Scan:
    scan = scan_source(DataConfig.model_validate({"source": str(source), **options}))
    assert scan.settle(Everything).rows == scan.num_rows
    return scan


def whole(source: object, **options: object) -> Source:
    return read_source(DataConfig.model_validate({"source": str(source), **options}))


def assert_same(source: object, **options: object) -> None:
    scan, read = settled(source, **options), whole(source, **options)
    assert pa.Table.from_batches(list(scan.batches()), scan.schema).equals(read.table)
    assert scan.schema.equals(read.table.schema, check_metadata=True)
    assert (scan.sha256, scan.num_rows, scan.uri) == (read.sha256, read.table.num_rows, read.uri)
    assert uncounted(scan.notes) == uncounted(read.notes)


def uncounted(notes: tuple[str, ...]) -> list[str]:
    """Notes without numbers of rows, which a scan knows of its sample alone."""
    return [re.sub(r"\([\d,]+ rows\)| \(in a sample of [\d,]+ rows\)", "", note) for note in notes]


def rich(rows: int = ROWS) -> pa.Table:
    """Text in forms, words for missing, codes, categories, times: what a CSV holds."""
    rng = np.random.default_rng(1)
    days = (np.datetime64("2021-03-01") + rng.integers(0, 600, rows)).astype(object)
    texts = {
        "born": [f"{day:%d.%m.%Y}" for day in days],
        "paid": [f"${paid:,.2f}" for paid in rng.lognormal(6, 1, rows)],
        "weight": [("n/a" if kilo > 0.95 else f"{50 + 40 * kilo:.1f}") for kilo in rng.random(rows)],
        "zip": [f"{code:05d}" for code in rng.integers(0, 300, rows)],
    }
    table = customers(rows)
    for name, cells in texts.items():
        table = table.append_column(name, pa.array(cells))
    return table


def opened(lines: list[str], row: int) -> list[str]:
    """The lines, with a quote in a row that nothing closes."""
    lines = [line.replace('"', "") for line in lines]
    return [*lines[:row], lines[row].removesuffix("NL") + '"NL', *lines[row + 1 :]]


def write_csv(path: Path, table: pa.Table) -> Path:
    csv.write_csv(table, path)
    return path


def test_parquet_of_many_row_groups(tmp_path: Path) -> None:
    pq.write_table(rich(), tmp_path / "rows.parquet", row_group_size=400)
    assert_same(tmp_path / "rows.parquet")


def test_text_with_forms_and_missing_words(tmp_path: Path) -> None:
    assert_same(write_csv(tmp_path / "rows.csv", rich()))


@pytest.mark.parametrize("ending", ["gz", "bz2", "zst", "lz4", "xz"])
def test_packed_text(tmp_path: Path, ending: str) -> None:
    plain = write_csv(tmp_path / "rows.csv", customers(ROWS)).read_bytes()
    path = tmp_path / f"rows.csv.{ending}"
    if ending == "xz":
        path.write_bytes(lzma.compress(plain))
    else:
        kind = {"gz": "gzip", "bz2": "bz2", "zst": "zstd", "lz4": "lz4"}[ending]
        with pa.output_stream(str(path), compression=kind) as out:
            out.write(plain)
    assert_same(path)


def test_folders_partitions_and_categories(tmp_path: Path) -> None:
    table = customers(ROWS)
    coded = table.set_column(2, "plan", table["plan"].dictionary_encode())
    for year in (2023, 2024):
        folder = tmp_path / "rows" / f"year={year}"
        folder.mkdir(parents=True)
        pq.write_table(coded.slice(ROWS // 2 * (year - 2023), ROWS // 2), folder / "part.parquet")
    assert_same(tmp_path / "rows")


def test_arrow_files(tmp_path: Path) -> None:
    with pa.ipc.new_file(str(tmp_path / "rows.arrow"), customers(ROWS).schema) as out:
        out.write_table(customers(ROWS), max_chunksize=500)
    assert_same(tmp_path / "rows.arrow")


def test_on_s3(s3_store: str, tmp_path: Path) -> None:
    from synthmill.storage.folder import Folder

    pq.write_table(customers(ROWS), tmp_path / "a.parquet", row_group_size=400)
    Folder(s3_store).upload(tmp_path / "a.parquet", "rows/a.parquet")
    Folder(s3_store).upload(write_csv(tmp_path / "b.csv", customers(ROWS)), "b.csv")
    assert_same(f"{s3_store}/rows")
    assert_same(f"{s3_store}/b.csv")


@pytest.mark.parametrize(
    "edit",
    [
        lambda lines: [*lines, "Total,,,,,,,,,,"],
        lambda lines: [*lines[:900], lines[0], *lines[900:]],
        lambda lines: [f"{line}," for line in lines],
        lambda lines: ["# written by hand", *lines],
        lambda lines: [line.replace(",", ";") for line in lines],
        lambda lines: [*lines, "Source: the registry, 2024"],
    ],
    ids=["footer", "header again", "empty column", "comment", "semicolons", "short footer"],
)
def test_what_stands_around_rows(tmp_path: Path, edit: Callable[[list[str]], list[str]]) -> None:
    lines = write_csv(tmp_path / "plain.csv", customers(ROWS)).read_text().splitlines()
    (tmp_path / "rows.csv").write_text("\n".join(edit(lines)) + "\n")
    assert_same(tmp_path / "rows.csv")


def test_a_type_is_as_wide_as_all_cells_need(tmp_path: Path) -> None:
    """The last rows hold what neither the first nor the sample do."""
    cells = [str(i % 70) for i in range(ROWS)]
    days = ["2024-01-05T10:00:00"] * ROWS
    cells[-7], days[-9] = "0.5", "2024-01-05T10:00:00.123456"
    table = pa.table({"x": cells, "at": days, "y": [f"{i % 9}" for i in range(ROWS)]})
    assert_same(write_csv(tmp_path / "rows.csv", table))


def test_an_odd_cell_far_behind_the_sample_stops_with_its_row(tmp_path: Path) -> None:
    cells = [f"{5 + i % 40}.01.2024" for i in range(ROWS)]
    cells = [f"{1 + i % 28:02d}.01.2024" for i in range(ROWS)]
    numbers = [f"{i * 7 % 1013}" for i in range(ROWS)]
    cells[2_900], numbers[2_950] = "soon", "12 or 13"
    path = write_csv(tmp_path / "rows.csv", pa.table({"when": cells, "n": numbers, "m": numbers}))
    with pytest.raises(DataError) as scanned:
        settled(path)
    with pytest.raises(DataError) as read:
        whole(path)
    assert str(scanned.value) == str(read.value)
    assert "'soon' (row 2,901)" in str(scanned.value)
    assert "'12 or 13' (row 2,951)" in str(scanned.value)


def test_missing_words_and_nulls_far_behind_the_sample(tmp_path: Path) -> None:
    cells = [f"{i % 50}.25" for i in range(ROWS)]
    cells[2_999] = "n/a"
    path = write_csv(tmp_path / "rows.csv", pa.table({"x": cells, "y": cells}))
    scan = settled(path)
    assert pa.Table.from_batches(list(scan.batches()))["x"].null_count == 1
    assert_same(path)


def test_a_column_whose_values_all_stand_at_the_end(tmp_path: Path) -> None:
    cells = [None] * (ROWS - 30) + list(range(30))
    table = pa.table({"late": pa.array(cells, pa.int64()), "y": np.arange(ROWS) % 7})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=500)
    assert_same(tmp_path / "rows.parquet")
    assert_same(write_csv(tmp_path / "rows.csv", table))


def test_schema_rules_are_heeded_in_every_block(tmp_path: Path) -> None:
    table = pa.table(
        {
            "a": np.arange(ROWS) % 5,
            "b": (np.arange(ROWS) % 3).astype(float),
            "c": ["yes", "no", "n/a"] * (ROWS // 3),
        }
    )
    schema = tmp_path / "schema.yaml"
    schema.write_text("columns: {a: {kind: numeric}, b: {kind: integer}, c: {kind: boolean}}")
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=500)
    assert_same(tmp_path / "rows.parquet", schema=str(schema))
    odd = table["b"].to_numpy().copy()
    odd[2_800] = 0.5
    pq.write_table(table.set_column(1, "b", pa.array(odd)), tmp_path / "odd.parquet", row_group_size=500)
    with pytest.raises(DataError, match=r"column 'b' is stated to be integer but holds 0.5 \(row 2,801\)"):
        settled(tmp_path / "odd.parquet", schema=str(schema))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda lines: [*lines[:2000], "1,2", *lines[2000:]], "row 2,000 of rows.csv has 2 cells"),
        (lambda lines: opened(lines, 2000), "behind row .* is not closed"),
        (lambda lines: opened(lines, 2900), "in row 2,900 of .* is not closed"),
        (lambda lines: [*lines[:2000], "caf\0", *lines[2000:]], "line 2001 of rows.csv holds a zero byte"),
    ],
)
def test_damaged_text(tmp_path: Path, edit: Callable[[list[str]], list[str]], message: str) -> None:
    lines = write_csv(tmp_path / "plain.csv", customers(ROWS)).read_text().splitlines()
    (tmp_path / "rows.csv").write_text("\n".join(edit(lines)) + "\n")
    with pytest.raises(DataError, match=message):
        settled(tmp_path / "rows.csv")


def test_text_that_is_not_utf8_far_behind_the_head(tmp_path: Path) -> None:
    lines = write_csv(tmp_path / "plain.csv", customers(ROWS)).read_bytes().splitlines()
    lines[2500] = lines[2500].replace(b"NL", b"\xe9")
    (tmp_path / "rows.csv").write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match=r"line 2501 of rows\.csv is not UTF-8"):
        settled(tmp_path / "rows.csv")


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv"])
def test_a_source_that_changes_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    def write(table: pa.Table) -> None:
        if name.endswith("csv"):
            write_csv(path, table)
        else:
            pq.write_table(table, path)

    write(customers(ROWS))
    scan, before = settled(path), path.stat()
    assert sum(block.table.num_rows for block in scan.blocks()) == ROWS
    # As large as before and with the same time of writing: only the bytes tell.
    data = path.read_bytes().replace(b"team", b"tEam", 1)
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match="changed while it was read"):
        for _ in scan.blocks():
            pass
    write(customers(ROWS, seed=1))
    with pytest.raises(DataError, match="changed while it was read"):
        next(scan.blocks())
    path.unlink()
    with pytest.raises(DataError, match="changed while it was read"):
        next(scan.blocks())


def test_a_source_that_grows_while_it_is_scanned_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "rows.csv", customers(ROWS))

    class Growing(Everything):
        def add(self, block: Block) -> None:
            super().add(block)
            with path.open("a") as out:
                out.write("C-99999,40,basic,0,,city-01,2020-01-01,,false,false,NL\n")

    scan = scan_source(DataConfig(source=str(path)))
    with pytest.raises(DataError, match="changed while it was read"):
        scan.settle(Growing)


@pytest.mark.parametrize(
    "source", ["sklearn://iris", "sqlite:///x.db?table=t", "rows.json", "packed.parquet.gz", "utf16.csv"]
)
def test_what_can_only_be_read_whole_says_why(tmp_path: Path, source: str) -> None:
    pq.write_table(customers(30), tmp_path / "rows.parquet")
    (tmp_path / "packed.parquet.gz").write_bytes(gzip.compress((tmp_path / "rows.parquet").read_bytes()))
    (tmp_path / "rows.json").write_text('[{"a": 1}, {"a": 2}]')
    (tmp_path / "utf16.csv").write_text("a,b\n1,2\n3,4\n", encoding="utf-16")
    given = source if "://" in source else str(tmp_path / source)
    with pytest.raises(WholeError, match=r"at once|JSON document|compressed|UTF-8"):
        scan_source(DataConfig(source=given))


def test_one_row_is_too_few(tmp_path: Path) -> None:
    pq.write_table(customers(1), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="has one row"):
        settled(tmp_path / "rows.parquet")
    pq.write_table(customers(5).slice(0, 0), tmp_path / "none.parquet")
    with pytest.raises(DataError, match="has no rows"):
        settled(tmp_path / "none.parquet")


def test_every_column_at_fault_is_named_at_once(tmp_path: Path) -> None:
    table = pa.table({"none": pa.nulls(ROWS, pa.int64()), "odd": [[1]] * ROWS, "x": np.arange(ROWS) % 9})
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(DataError) as scanned:
        settled(tmp_path / "rows.parquet")
    with pytest.raises(DataError) as read:
        whole(tmp_path / "rows.parquet")
    assert str(scanned.value) == str(read.value)
    assert pc.count(table["none"]).as_py() == 0


def test_what_was_read_of_a_parquet_file_is_not_kept(tmp_path: Path) -> None:
    """Arrow's reader would hold the bytes of all row groups until the file is closed."""
    path, rng, held = tmp_path / "rows.parquet", np.random.default_rng(0), list[int]()
    table = pa.table({f"c{number}": rng.random(40_000) for number in range(8)})
    pq.write_table(table, path, row_group_size=2_000, compression="none", use_dictionary=False)
    del table

    class Looking(Everything):
        def add(self, block: Block) -> None:
            super().add(block)
            held.append(pa.total_allocated_bytes())

    scan, before = scan_source(DataConfig(source=str(path))), pa.total_allocated_bytes()
    scan.settle(Looking)
    assert max(held) - before < 0.5 * path.stat().st_size
