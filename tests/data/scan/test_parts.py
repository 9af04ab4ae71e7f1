"""A source that is gone over in parts, by whoever and in whatever order: all that is found is what one
process finds from the first row to the last."""

import copy
import functools
import itertools
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odd_tables import odd_table
from rules import CONSTRAINTS, orders
from scanned import categories, first_difference, folder_of, scanned, told
from synthmill.config import DataConfig, StorageConfig
from synthmill.data.formats import parquet
from synthmill.data.scan import counting, found, raw, sides, tally
from synthmill.data.scan import scan as scanning
from synthmill.data.scan.division import RowSides
from synthmill.data.scan.found import C, Found
from synthmill.data.scan.raw import Raw, open_files
from synthmill.data.scan.sample import KeyedSample
from synthmill.errors import DataError

OPTIONS = (("data.target=plan",), ("data.target=plan", "data.split.group=city"))


@pytest.fixture(autouse=True, scope="module")
def _small() -> "pytest.MonkeyPatch":
    """Blocks, probes, samples and counts far smaller than the tables here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "BLOCK_ROWS", 170)
        patch.setattr(scanning, "PROBE_ROWS", 200)
        for module in (scanning, sides):
            patch.setattr(module, "SAMPLE_ROWS", 500)
        patch.setattr(tally, "MOST_NUMBERS", 300)
        patch.setattr(tally, "MOST_TEXTS", 40)
        patch.setattr(tally, "_PENDING", 8)
        patch.setattr(counting, "WIDEST", 1 << 11)
        patch.setattr(found, "ODD_ROWS", 4)
        yield patch


class Cuts:
    """Tasks of so many rows, whose results come in an order of their own, as plain bytes."""

    def __init__(self, rows: int, seed: int = 0) -> None:
        self._rows, self._seed = rows, seed

    def __call__(self, empty: Found[C], raw: Raw) -> None:
        cuts, begun = raw.cuts(self._rows), pickle.dumps(empty)
        assert cuts is not None
        assert [cut.first_row for cut in cuts] == [0, *itertools.accumulate(cut.rows for cut in cuts)][:-1]
        for _ in raw.hashing():
            pass
        order = np.random.default_rng(self._seed).permutation(len(cuts))
        parts = []
        for at in order:
            part = pickle.loads(begun)
            part.add_cut(pickle.loads(pickle.dumps(cuts[at])))
            parts.append(pickle.dumps(part))
        for part in parts:
            empty.merge(pickle.loads(part))


class Drawn:
    """Any division of the rows among any number of parts, merged in any order."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def __call__(self, empty: Found[C], raw: Raw) -> None:
        blocks, row = list[tuple[int, pa.Table]](), 0
        for block in raw.blocks():
            edges = self._data.draw(st.sets(st.integers(0, block.num_rows), max_size=2))
            for start, stop in itertools.pairwise(sorted({0, block.num_rows, *edges})):
                blocks.append((row + start, block.slice(start, stop - start)))
            row += block.num_rows
        parts = [copy.deepcopy(empty) for _ in range(self._data.draw(st.integers(1, 4)))]
        for first_row, block in self._data.draw(st.permutations(blocks)):
            parts[self._data.draw(st.integers(0, len(parts) - 1))].add(block, first_row)
        for part in self._data.draw(st.permutations(parts)):
            empty.merge(part)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = categories(odd_table().slice(0, 1_200))
    towns = pa.array([f"Town {int(city[5:]) % 60}" for city in table["city"].to_pylist()])
    table = table.set_column(table.column_names.index("city"), "city", towns)
    return folder_of(tmp_path_factory.mktemp("source") / "rows", table)


@functools.cache
def of_one_pass(source: Path, *options: str) -> dict[str, Any]:
    return told(scanned(source, None, *options))


@settings(deadline=None, max_examples=8)
@given(options=st.sampled_from(OPTIONS), data=st.data())
def test_any_division_and_any_order_give_what_one_pass_gives(
    source: Path, options: tuple[str, ...], data: st.DataObject
) -> None:
    found = told(scanned(source, Drawn(data), *options))
    assert first_difference(of_one_pass(source, *options), found) is None


@pytest.mark.parametrize(("rows", "seed"), [(1, 0), (450, 1), (900, 2), (10_000, 0)])
def test_row_groups_that_are_read_alone_give_what_one_pass_gives(source: Path, rows: int, seed: int) -> None:
    options = ("data.target=plan", "data.split.group=city")
    found = told(scanned(source, Cuts(rows, seed), *options))
    assert first_difference(of_one_pass(source, *options), found) is None


def test_a_processor_without_wide_instructions_finds_the_same(source: Path, tmp_path: Path) -> None:
    """Tasks may run on nodes of another class of CPU."""
    umath = np._core._multiarray_umath
    wide = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]]
    narrow = {"NPY_DISABLE_CPU_FEATURES": ",".join(wide), "ARROW_USER_SIMD_LEVEL": "NONE"}

    def elsewhere(found: Found[C], raw: Raw) -> None:
        for _ in raw.hashing():
            pass
        (tmp_path / "work").write_bytes(pickle.dumps((found, raw.cuts(450))))
        subprocess.run(
            [sys.executable, "-c", ELSEWHERE, tmp_path / "work", tmp_path / "done"],
            env={**os.environ, **narrow},
            check=True,
        )
        for part in pickle.loads((tmp_path / "done").read_bytes()):
            found.merge(part)

    options = ("data.target=plan", "data.split.group=city")
    assert first_difference(of_one_pass(source, *options), told(scanned(source, elsewhere, *options))) is None


ELSEWHERE = """
import copy, pathlib, pickle, sys
empty, cuts = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
parts = [copy.deepcopy(empty) for _ in cuts]
for part, cut in zip(parts, cuts):
    part.add_cut(cut)
pathlib.Path(sys.argv[2]).write_bytes(pickle.dumps(parts))
"""


def test_rows_that_do_not_fit_are_told_as_one_pass_tells_them(tmp_path: Path) -> None:
    """In two columns at once, more of them than are told, and none in the first rows or the sample."""
    table = categories(odd_table())
    born, city = table["born"].to_pylist(), table["born"].to_pylist()
    for row in (2_901, 3_300, 3_301, 3_302, 3_303, 3_304, 4_999):
        born[row] = "soon"
    city[4_200] = "31.02.2021 or so"
    table = table.set_column(table.column_names.index("born"), "born", pa.array(born))
    pq.write_table(table.append_column("due", pa.array(city)), tmp_path / "a.parquet", row_group_size=300)
    with pytest.raises(DataError) as expected:
        scanned(tmp_path / "a.parquet")
    for runner in (Cuts(1), Cuts(700, 3)):
        with pytest.raises(DataError) as raised:
            scanned(tmp_path / "a.parquet", runner)
        assert str(raised.value) == str(expected.value)
    assert "'soon' (row 2,902)" in str(expected.value)
    assert "column 'due'" in str(expected.value)


def test_a_type_that_only_a_late_part_widens_costs_another_pass(tmp_path: Path) -> None:
    cells = [str(i % 70) for i in range(3_000)]
    cells[2_990] = "0.5"
    table = pa.table({"id": np.arange(3_000), "x": cells, "y": np.arange(3_000) % 9})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=300)
    whole = told(scanned(tmp_path / "a.parquet"))
    assert first_difference(whole, told(scanned(tmp_path / "a.parquet", Cuts(500, 1)))) is None


def test_rows_that_break_a_constraint_are_counted_in_all_parts(tmp_path: Path) -> None:
    table = orders(2_000)
    low = table["low"].to_numpy().copy()
    low[[150, 700, 1_200, 1_900]] += 10_000
    table = table.set_column(table.column_names.index("low"), "low", pa.array(low))
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=200)
    said = f"data.constraints={list(CONSTRAINTS)}"
    with pytest.raises(DataError) as expected:
        scanned(tmp_path / "a.parquet", None, said)
    with pytest.raises(DataError) as raised:
        scanned(tmp_path / "a.parquet", Cuts(300, 5), said)
    assert str(raised.value) == str(expected.value)
    assert "rows break it" in str(expected.value)


def test_a_damaged_row_group_is_refused(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(odd_table(), path, row_group_size=500, compression="zstd")
    data, at = bytearray(path.read_bytes()), pq.ParquetFile(path).metadata.row_group(7).column(2)
    start = at.dictionary_page_offset or at.data_page_offset
    data[start : start + 60] = bytes(60)
    path.write_bytes(bytes(data))
    for runner in (None, Cuts(900)):
        with pytest.raises(DataError, match=r"a\.parquet can't be read as Parquet"):
            scanned(path, runner)


def test_a_file_that_is_written_meanwhile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(odd_table(), path, row_group_size=500)

    class Writing(Cuts):
        def __call__(self, empty: Found[C], raw: Raw) -> None:
            pq.write_table(odd_table().slice(7), path, row_group_size=500)
            super().__call__(empty, raw)

    with pytest.raises(DataError, match=r"a\.parquet changed while it was read"):
        scanned(path, Writing(900))


def test_files_without_stretches_of_their_own_and_endless_row_groups_are_not_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cuts(path: Path) -> object:
        return open_files(DataConfig(source=str(path)), StorageConfig()).cuts(100)

    monkeypatch.setattr(raw, "LONGEST_ROWS", 899)
    pq.write_table(odd_table(), tmp_path / "long.parquet", row_group_size=900)
    (tmp_path / "a.csv").write_text("id,x\n" + "1,2\n" * 50)
    assert cuts(tmp_path / "long.parquet") is None
    assert cuts(tmp_path / "a.csv") is None


@given(st.lists(st.integers(1, 40), min_size=1, max_size=9), st.data())
def test_sides_are_found_by_row_number(sizes: list[int], data: st.DataObject) -> None:
    expected = np.random.default_rng(sum(sizes)).integers(0, 3, sum(sizes)).astype(np.int8)
    one, other, row, pieces = RowSides(), RowSides(), 0, []
    for size in sizes:
        pieces.append((row, expected[row : row + size]))
        row += size
    for first_row, piece in data.draw(st.permutations(pieces)):
        data.draw(st.sampled_from([one, other])).add(first_row, piece)
    one.merge(other)
    start = data.draw(st.integers(0, row))
    stop = data.draw(st.integers(start, row))
    assert (one.of(start, stop - start) == expected[start:stop]).all()


@given(st.permutations(range(12)), st.integers(1, 130), st.booleans())
def test_samples_of_parts_are_the_sample_of_all(order: list[int], size: int, told: bool) -> None:
    table, rows = pa.table({"n": np.arange(120)}), np.arange(120)
    whole, parts = KeyedSample(size, 3, 120), [KeyedSample(size, 3) for _ in range(3)]
    whole.add(table, rows)
    for number, at in enumerate(order):
        if told:
            parts[number % 3].pass_over(parts[0].least)
        parts[number % 3].add(table.slice(10 * at, 10), rows[10 * at : 10 * at + 10])
    parts[1].merge(parts[2])
    parts[1].merge(parts[0])
    found, numbers = parts[1].rows()
    expected, wanted = whole.rows()
    assert found.equals(expected)
    assert (numbers == wanted).all()
