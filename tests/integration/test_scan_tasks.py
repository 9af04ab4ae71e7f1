"""Sources that tasks scan: what they find is what one process finds, faults are told in the same words."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from integration.conftest import small_recipe
from odd_tables import odd_table
from scanned import categories, first_difference, folder_of, scanned, told
from synthmill.catalog.store import Store
from synthmill.config import Recipe, parse_model
from synthmill.data.formats import _csv_blocks, parquet
from synthmill.data.scan import scan as scanning
from synthmill.data.scan import sides
from synthmill.errors import DataError
from synthmill.runtime import prepare, scan_parts, train
from synthmill.runtime.scan_parts import ScanRunner


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts, probes and samples far smaller than the tables here. Of these, tasks are told the sample."""
    monkeypatch.setattr(parquet, "BLOCK_ROWS", 300)
    monkeypatch.setattr(_csv_blocks, "BLOCK_BYTES", 40_000)
    monkeypatch.setattr(scan_parts, "PART_ROWS", 900)
    monkeypatch.setattr(scan_parts, "PART_BYTES", 100_000)
    monkeypatch.setattr(scanning, "PROBE_ROWS", 200)
    for module in (scanning, sides):
        monkeypatch.setattr(module, "SAMPLE_ROWS", 1_000)


def test_row_groups_of_a_folder(local_ray: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = folder_of(tmp_path / "rows")
    whole = told(scanned(source))
    for tasks in (1, 2, 0):
        capsys.readouterr()
        assert first_difference(whole, told(scanned(source, ScanRunner(tasks)))) is None
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.startswith("scanning rows")
        assert "5,000/5,000  5,000 rows, " in last
        assert " rows/s, 0:00 left" in last
        assert last.endswith(f", {tasks} task{'s' * (tasks > 1)}" if tasks else "left")


def test_text_that_only_one_process_can_read(local_ray: None, tmp_path: Path) -> None:
    table = categories(odd_table()).drop_columns(["size", "no end"])
    csv.write_csv(table, tmp_path / "rows.csv")
    whole = told(scanned(tmp_path / "rows.csv"))
    assert first_difference(whole, told(scanned(tmp_path / "rows.csv", ScanRunner(2)))) is None


def test_cells_that_do_not_fit_are_told_with_their_rows_in_the_whole_source(
    local_ray: None, tmp_path: Path
) -> None:
    table = categories(odd_table())
    born = table["born"].to_pylist()
    born[2_901] = born[4_900] = "soon"
    at = table.column_names.index("born")
    table = table.set_column(at, "born", pa.array(born)).append_column("due", pa.array(born[1:] + born[:1]))
    source = folder_of(tmp_path / "rows", table)
    with pytest.raises(DataError) as expected:
        scanned(source)
    with pytest.raises(DataError) as raised:
        scanned(source, ScanRunner(2))
    assert str(raised.value) == str(expected.value)
    assert "(row 2,902)" in str(raised.value)
    assert "(row 2,901)" in str(raised.value)


def test_a_damaged_part_is_named(local_ray: None, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(odd_table(), path, row_group_size=500, compression="zstd")
    data, at = bytearray(path.read_bytes()), pq.ParquetFile(path).metadata.row_group(7).column(2)
    start = at.dictionary_page_offset or at.data_page_offset
    data[start : start + 60] = bytes(60)
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"a\.parquet can't be read as Parquet"):
        scanned(path, ScanRunner(2))


def test_a_job_scans_a_large_source_by_tasks_and_trains_the_same_model(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "rows.parquet"
    pq.write_table(odd_table().drop_columns(["\N{MONEY BAG}", "again"]), source, row_group_size=500)
    raw = small_recipe(source) | {"data": {"source": str(source), "target": "plan", "stream": "always"}}
    recipe, models = parse_model(Recipe, raw), []
    for name, least in (("here", 8), ("tasks", 0)):
        monkeypatch.setattr(prepare, "LEAST_PARTS", least)
        store = str(tmp_path / name)
        version = train.train(recipe, store, run_id="r")
        folder = Store(store).resolve("models", version.name, field="model").folder
        models.append(
            {file.path: folder.read_bytes(file.path) for file in folder.list() if "safetensors" in file.path}
        )
        assert ("scanning rows: 5,000/5,000" in capsys.readouterr().out) == (name == "tasks")
    assert models[0] == models[1]
    assert models[0]


def test_what_is_wrong_with_a_recipe_is_told_before_the_source_is_gone_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "LEAST_PARTS", 0)
    source = tmp_path / "rows.parquet"
    pq.write_table(odd_table(), source, row_group_size=500)
    for data, message in (
        ({"split": {"group": "cty"}}, "did you mean 'city'"),
        ({"constraints": [{"type": "unique", "columns": ["nobody"]}]}, "nobody"),
        ({"schema": str(tmp_path / "none.yaml")}, "none.yaml"),
    ):
        raw = small_recipe(source) | {"data": {"source": str(source), "stream": "always", **data}}
        with pytest.raises(DataError, match=message):
            prepare.begin(parse_model(Recipe, raw), str(tmp_path / "store"))
