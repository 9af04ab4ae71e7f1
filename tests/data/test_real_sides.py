from pathlib import Path

import pytest

from customers import write_customers
from synthmill.config import DataConfig, SplitConfig
from synthmill.data.readers.base import read_source, scan_source
from synthmill.data.scan import real
from synthmill.data.split import SplitTables, open_split, split_table
from synthmill.errors import DataError


def recorded(config: DataConfig) -> SplitTables:
    """The whole sides, as a scan divides them."""
    source = read_source(config)
    return split_table(source.table, config.split, sha256=source.sha256, rule="content-hash/1")


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    source = write_customers(tmp_path / "customers.csv", rows=3000)
    return DataConfig(source=str(source), split=SplitConfig(validation=0.2))


def test_a_small_source_gives_whole_sides(config: DataConfig) -> None:
    whole = recorded(config)
    sides = real.sample_sides(scan_source(config), config, whole.split)
    for name in ("train", "validation", "holdout"):
        assert getattr(sides, name).to_pylist() == getattr(whole, name).to_pylist()
    assert open_split(read_source(config), whole.split).train.equals(whole.train)


def test_a_large_one_gives_a_sample_of_each_side(config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real, "SIDE_ROWS", 250)
    whole = recorded(config)
    sides = real.sample_sides(scan_source(config), config, whole.split)
    for name in ("train", "validation", "holdout"):
        found = getattr(sides, name).to_pylist()
        assert len(found) == 250
        everything = getattr(whole, name).to_pylist()
        places = [everything.index(row) for row in found]
        assert places == sorted(places), "in the order of the source"
        # From everywhere: of 250 rows a fifth is in each fifth of the side, give or take four deviations.
        assert abs(sum(place < len(everything) / 5 for place in places) - 50) < 26


def test_a_source_that_changed_or_divides_otherwise_is_refused(config: DataConfig) -> None:
    split = recorded(config).split
    other = split.model_copy(update={"counts": {**split.counts, "train": 1}})
    with pytest.raises(DataError, match=r"data\.source: .* splits into"):
        real.sample_sides(scan_source(config), config, other)
    write_customers(Path(config.source), rows=3001)
    with pytest.raises(DataError, match=r"data\.source: .* has changed since the model was trained"):
        real.sample_sides(scan_source(config), config, split)
