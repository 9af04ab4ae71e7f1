"""Codecs of scanned sources: those of all rows in memory where the sample holds them all, and as near as a
sample allows where it does not."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthmill.config import DataConfig
from synthmill.data.codecs.discrete import DiscreteCodec
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.formats import parquet
from synthmill.data.numeric import Curve
from synthmill.data.readers.base import read_source, scan_source
from synthmill.data.scan import counting, sides, tally
from synthmill.data.scan import scan as scanning
from synthmill.data.scan.counts import Counts
from synthmill.data.scan.division import Sorter
from synthmill.data.split import split_table
from tables import customers


def wide(rows: int, seed: int = 0) -> pa.Table:
    """Columns of every kind that a profile tells apart."""
    rng = np.random.default_rng(seed)
    table = customers(rows, seed)
    day = np.datetime64("2019-01-01") + rng.integers(0, 700, rows)
    day[rng.random(rows) < 0.03] = np.datetime64("9999-12-31")
    day[rows // 2] = np.datetime64("1700-02-03")
    moment = np.datetime64("2020-01-01T00:00:00", "ms") + rng.integers(0, 10**10, rows)
    moment[rng.random(rows) < 0.02] = np.datetime64("1900-01-01")
    heavy = rng.lognormal(3, 1, rows)
    heavy[rng.random(rows) < 0.2] = 0.0
    heavy[:3] = np.inf
    more = {
        "ends": pa.array(day.astype("datetime64[D]"), pa.date32()),
        "at": pa.array(moment, pa.timestamp("ms")),
        "heavy": heavy,
        "exact": rng.normal(size=rows),
        "stars": rng.choice([1.0, 1.5, 2.0, 4.5, 5.0], rows),
        "tens": rng.integers(0, 10**9, rows) * 10,
        "serial": np.arange(rows) + 1,
        "order_id": rng.permutation(rows) + 10**6,
        "rare": pa.array(np.where(rng.random(rows) < 0.9, "usual", [f"r{i % 1700}" for i in range(rows)])),
        "city_code": rng.zipf(1.6, rows).clip(max=10**7),
        "few": pa.array([1.0 if i % 997 == 0 else None for i in range(rows)]),
        "huge": rng.integers(2**62, 2**62 + 10**6, rows),
        "price": pa.array(rng.integers(1, 9_000, rows) / 100).cast(pa.decimal128(10, 2)),
        "big": pa.array(rng.integers(0, 2**63, rows).astype(np.uint64) * 2, pa.uint64()),
        "noon": pa.array((rng.integers(0, 86_400, rows)).astype(np.int32), pa.time32("s")),
    }
    for name, values in more.items():
        table = table.append_column(name, pa.array(values))
    return table


def both(
    path: Path, table: pa.Table, codec_class: type[MixedCodec] = MixedCodec, **options: Any
) -> tuple[Any, Any]:
    """(codec, summary) of the scan, and of the same train rows in memory."""
    pq.write_table(table, path, row_group_size=3_000)
    config = DataConfig.model_validate({"source": str(path), **options})
    scan = scan_source(config)
    fine = codec_class.resolution
    sorter = scan.settle(lambda terms: Sorter(terms, config, Counts(terms.sample, config, scan.rules, fine)))
    found = sorter.divided(scan)
    assert sorter.counts is not None
    codec = codec_class.fit_scanned(found.train_sample, sorter.counts, config, scan.rules)
    codec = codec.beside_all(found.column)
    summary = codec.summary_counted(found.train_sample, sorter.counts)
    source = read_source(config)
    train = split_table(source.table, config.split, sha256=source.sha256, rule="content-hash/1").train
    whole = codec_class.fit(train, config, source.rules).beside(source.table)
    return (codec, summary), (whole, whole.summary(train, config.split.group))


@pytest.mark.parametrize(
    "options", [{}, {"split": {"group": "city_code"}}, {"target": "plan"}, {"split": {"group": "order_id"}}]
)
@pytest.mark.parametrize("codec_class", [MixedCodec, DiscreteCodec])
def test_all_rows_in_the_sample_give_the_codec_of_memory(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    codec_class: type[MixedCodec],
) -> None:
    monkeypatch.setattr(parquet, "BLOCK_ROWS", 700)
    path = tmp_path / "rows.parquet"
    (codec, summary), (whole, expected) = both(path, wide(4_000), codec_class, **options)
    found, tensors = codec.to_files()
    config, wanted = whole.to_files()
    for one, other in zip(found["profile"]["columns"], config["profile"]["columns"], strict=True):
        assert one == other
    assert found == config
    assert {name: value.tolist() for name, value in tensors.items()} == {
        name: value.tolist() for name, value in wanted.items()
    }
    assert codec.notes == whole.notes
    assert codec.layout == whole.layout
    assert summary == expected


def test_a_fine_codec_finds_points_in_all_rows_that_a_coarse_one_leaves_to_the_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "BLOCK_ROWS", 5_000)
    for module in (scanning, sides):
        monkeypatch.setattr(module, "SAMPLE_ROWS", 20_000)
    rng = np.random.default_rng(0)
    # Half a percent each of four values, on a curve too wide to be counted number by number.
    amount = np.where(rng.random(40_000) < 0.02, rng.integers(1, 5, 40_000) * 1e6, rng.normal(0, 1e6, 40_000))
    table = pa.table({"amount": amount, "level": rng.integers(0, 200, 40_000) / 4})
    (fine, _), (whole, _) = both(tmp_path / "rows.parquet", table, DiscreteCodec)
    assert fine.profile == whole.profile
    assert fine.profile.column("amount").points == (1e6, 2e6, 3e6, 4e6)
    assert len(fine.profile.column("level").points) == 200
    (coarse, _), _ = both(tmp_path / "rows.parquet", table)
    assert coarse.profile.column("amount").points == coarse.profile.column("level").points == ()


def test_a_sample_leaves_only_curves_to_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BLOCK_ROWS", 2_500)
    monkeypatch.setattr(scanning, "PROBE_ROWS", 900)
    monkeypatch.setattr(tally, "MOST_NUMBERS", 3_000)
    monkeypatch.setattr(counting, "WIDEST", 1 << 14)
    for module in (scanning, sides):
        monkeypatch.setattr(module, "SAMPLE_ROWS", 9_000)
    table = wide(30_000)
    (codec, summary), (whole, expected) = both(tmp_path / "rows.parquet", table)
    for one, other in zip(codec.profile.columns, whole.profile.columns, strict=True):
        assert one == other
    assert codec.notes == whole.notes
    for one, other in zip(codec._columns, whole._columns, strict=True):
        name = one.profile.name
        assert [span.width for span in one.spans] == [span.width for span in other.spans], name
        if hasattr(one, "counts"):
            assert one.counts.tolist() == other.counts.tolist()
        if name in ("exact", "tens", "at", "huge"):
            assert worst_rank(one.curve, other.curve) < 1.63 / np.sqrt(6_000), name
            assert (one.curve.x[0], one.curve.x[-1]) == (other.curve.x[0], other.curve.x[-1]), name
    assert summary["rows"] == expected["rows"]
    for name, shown in expected["columns"].items():
        found = summary["columns"][name]
        assert found["missing"] == shown["missing"], name
        if "levels" in shown:
            assert found == shown, name


def worst_rank(one: Curve, other: Curve) -> float:
    """The largest difference of ranks, where both curves rise."""
    values = np.unique(np.concatenate([one.x, other.x]))
    middle = (values[1:] + values[:-1]) / 2
    return float(np.abs(one.ranks(middle) - other.ranks(middle)).max(initial=0))


def test_sorted_rows_do_not_mislead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rows have one year, one price and one class only."""
    monkeypatch.setattr(parquet, "BLOCK_ROWS", 500)
    monkeypatch.setattr(scanning, "PROBE_ROWS", 500)
    rng = np.random.default_rng(3)
    cents = np.where(rng.random(6_000) < 0.4, 0, rng.random(6_000))
    table = pa.table(
        {
            "year": np.repeat([2001, 2002, 2003, 99_000_000], 1_500),
            "price": np.repeat([0.0, 9.5, 12.25, 800.5], 1_500) + cents,
            "kind": np.repeat(["a", "b", "c", "d"], 1_500),
        }
    )
    (codec, _), (whole, _) = both(tmp_path / "rows.parquet", table)
    assert codec.to_files()[0] == whole.to_files()[0]


def test_texts_beyond_the_bound_are_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MOST_TEXTS", 100)
    monkeypatch.setattr(tally, "_PENDING", 50)
    texts = tally.TextTally(pa.array(["often", "too"]))
    rare = 0
    for block in range(10):
        own = [f"once-{block}-{i}" for i in range(60)]
        texts.add(pa.array(["often", "too", *own]), np.array([5, 2] + [1] * 60))
        rare += 60
    texts.merge()
    counts = dict(zip(texts.texts.to_pylist(), texts.counts.tolist(), strict=True))
    assert counts["often"] == 50
    assert counts["too"] == 20
    assert sum(counts.values()) + texts.uncounted == 70 + rare
    assert len(counts) <= 162


def test_people_are_counted_as_far_as_it_matters() -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 30, 5_000).astype(np.uint64)
    people = (keys * 100 + rng.integers(0, 1 + (keys % 9).astype(np.int64), 5_000)).astype(np.uint64)
    sharers = tally.Sharers(5)
    for start in range(0, 5_000, 400):
        sharers.add(keys[start : start + 400], people[start : start + 400])
    exact = [min(5, len(set(people[keys == key].tolist()))) for key in range(30)]
    assert sharers.of(np.arange(30, dtype=np.uint64)).tolist() == exact


def test_different_hashes_are_estimated() -> None:
    rng = np.random.default_rng(0)
    different = tally.Different()
    for _ in range(4):
        different.add(rng.integers(0, 2**63, 100_000).astype(np.uint64) * np.uint64(2))
    assert abs(different.count / 400_000 - 1) < 0.02
