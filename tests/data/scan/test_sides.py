"""Sides of scanned rows: the same in blocks and in memory, duplicates and groups together, common rows dealt
out, shares kept."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthmill.config import DataConfig, SplitConfig
from synthmill.data.formats import parquet
from synthmill.data.readers.base import Source, scan_source
from synthmill.data.scan.content import content_hashes, text_hashes
from synthmill.data.scan.division import Divided, Sorter
from synthmill.data.scan.sides import sides_of_table
from synthmill.data.split import open_split, split_table
from synthmill.errors import DataError
from tables import customers


def divided(path: Path, table: pa.Table, **split: object) -> Divided:
    pq.write_table(table, path, row_group_size=700)
    config = DataConfig.model_validate({"source": str(path), "split": split})
    scan = scan_source(config)
    return scan.settle(lambda terms: Sorter(terms, config)).divided(scan)


@pytest.mark.parametrize("split", [{}, {"seed": 5}, {"group": "city"}, {"holdout": 0.0}])
def test_blocks_and_memory_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: dict[str, object]
) -> None:
    monkeypatch.setattr(parquet, "BLOCK_ROWS", 333)
    table = customers(2_001)
    found = divided(tmp_path / "rows.parquet", table, **split)
    source = Source(table, found.split.source_sha256, "rows.parquet")
    again = open_split(source, found.split)
    assert again.split == found.split
    for side, part in enumerate((again.train, again.validation, again.holdout)):
        assert pa.concat_tables(found.tables(side)).equals(part)
    assert found.train_sample.equals(again.train)
    assert found.validation_sample.equals(again.validation)


def test_shares_are_near_those_asked_for() -> None:
    sides = sides_of_table(customers(20_000), SplitConfig())
    shares = np.bincount(sides) / 20_000
    assert np.abs(shares - (0.7, 0.1, 0.2)).max() < 0.01


def test_duplicates_and_groups_stay_together() -> None:
    once = customers(1_000).drop_columns(["customer"])
    sides = sides_of_table(pa.concat_tables([once, once]), SplitConfig())
    assert (sides[:1_000] == sides[1_000:]).all()
    table = customers(2_000)
    sides = sides_of_table(table, SplitConfig(group="city"))
    city = np.array(table["city"].to_pylist())
    assert all(len(set(sides[city == one])) == 1 for one in set(city))


def test_common_rows_are_dealt_out_one_by_one() -> None:
    table = pa.table({"a": np.arange(3_000) % 4, "b": ["x", "y"] * 1_500})
    sides = sides_of_table(table, SplitConfig())
    for value in range(4):
        shares = np.bincount(sides[np.arange(3_000) % 4 == value], minlength=3) / 750
        assert np.abs(shares - (0.7, 0.1, 0.2)).max() < 0.06


def test_rows_without_a_group_stand_for_themselves() -> None:
    table = pa.table({"who": pa.nulls(500, pa.string()), "x": np.arange(500)})
    assert set(sides_of_table(table, SplitConfig(group="who"))) == {0, 1, 2}


def test_a_table_of_one_content_leaves_nothing_to_train_on() -> None:
    table = pa.table({"x": [1] * 5})
    with pytest.raises(DataError, match=r"data\.split: no row is left to train on"):
        [sides_of_table(table, SplitConfig(seed=seed)) for seed in range(40)]


def test_unknown_groups_and_shares_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'city'"):
        divided(tmp_path / "rows.parquet", customers(50), group="cty")
    with pytest.raises(DataError, match="leave no rows to train on"):
        divided(tmp_path / "rows.parquet", customers(50), holdout=0.6, validation=0.5)


def test_equal_cells_have_equal_hashes_however_they_are_stored() -> None:
    table = customers(500)
    coded = table.set_column(2, "plan", table["plan"].dictionary_encode())
    assert (content_hashes(coded) == content_hashes(table)).all()
    assert (content_hashes(table.slice(100, 50)) == content_hashes(table)[100:150]).all()
    zeros = pa.table({"x": [0.0, -0.0, float("nan"), float("nan"), None]})
    hashes = content_hashes(zeros)
    assert hashes[0] == hashes[1]
    assert hashes[2] == hashes[3]
    assert len(set(hashes.tolist())) == 3


def test_other_cells_have_other_hashes() -> None:
    texts = ["", "a", "b", "aa", "ab", "ba", "a" * 300, "a" * 299 + "b", "\u00e9", "e\u0301"]
    assert len(set(text_hashes(pa.array(texts)).tolist())) == len(texts)
    grid = pa.table({"a": np.repeat(np.arange(300), 300), "b": np.tile(np.arange(300.0), 300)})
    assert len(np.unique(content_hashes(grid))) == 90_000
    swapped = pa.table({"a": [1, 2], "b": [2, 1]})
    assert len(set(content_hashes(swapped).tolist())) == 2


def test_the_recorded_sides_do_not_change() -> None:
    """Models remember the rule and not the rows: other sides would let holdout rows into training."""
    table = pa.table({"n": np.arange(12), "t": [f"row {i}" for i in range(12)]})
    assert sides_of_table(table, SplitConfig()).tolist() == RECORDED
    assert split_table(table, SplitConfig(), sha256="a" * 64, rule="content-hash/1").split.counts == {
        "train": RECORDED.count(0),
        "validation": RECORDED.count(1),
        "holdout": RECORDED.count(2),
    }


RECORDED = [0, 0, 2, 0, 0, 2, 0, 0, 0, 2, 0, 0]
