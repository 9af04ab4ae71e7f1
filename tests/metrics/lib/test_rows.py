import numpy as np
import pyarrow as pa
import pytest

from evidence import people
from synthmill.metrics.lib.binning import Plan
from synthmill.metrics.lib.columns import columns_of
from synthmill.metrics.lib.rows import CountDistinct, CountMatches, DistinctRows, duplicate_share, single_rows
from synthmill.metrics.lib.view import PartView


def view(table, first_row=0):
    columns = columns_of(table.schema, {})
    return PartView(table, Plan(columns, {}, (), {}), first_row)


def distinct(counts):
    return DistinctRows(0, np.arange(len(counts), dtype=np.uint64), np.array(counts), int(sum(counts)))


def test_parts_merge_to_the_whole():
    table = pa.table({"x": np.random.default_rng(0).integers(0, 300, 1000)})
    count = CountDistinct()
    whole = count.partial(view(table))
    merged = count.merge(count.partial(view(table.slice(0, 600))), count.partial(view(table.slice(600), 600)))
    np.testing.assert_array_equal(whole.hashes, merged.hashes)
    np.testing.assert_array_equal(whole.counts, merged.counts)
    assert merged.rows == 1000


def test_beyond_the_limit_the_share_is_an_estimate_in_bounded_memory():
    rng = np.random.default_rng(0)
    table = pa.table({"x": rng.integers(0, 40_000, 100_000)})
    exact, bounded = CountDistinct(), CountDistinct(limit=2_000)
    truth = duplicate_share(exact.partial(view(table)), 50_000)
    parts = [bounded.partial(view(table.slice(at, 20_000), at)) for at in range(0, 100_000, 20_000)]
    state = parts[0]
    for part in parts[1:]:
        state = bounded.merge(state, part)
    assert len(state.hashes) <= 2_000
    assert state.level > 0
    assert duplicate_share(state, 50_000) == pytest.approx(truth, abs=0.04)


def test_rarefaction_agrees_with_drawing():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 6, 200)
    rows = np.repeat(np.arange(200), counts)
    drawn = [1 - len(np.unique(rng.choice(rows, 150, replace=False))) / 150 for _ in range(2000)]
    assert duplicate_share(distinct(counts), 150) == pytest.approx(np.mean(drawn), abs=0.003)


def test_no_duplicates_no_share_and_all_rows_the_plain_share():
    assert duplicate_share(distinct([1] * 50), 20) == pytest.approx(0, abs=1e-12)
    assert duplicate_share(distinct([2] * 50), 100) == pytest.approx(0.5)


def test_matches_find_the_rows_that_are_there():
    train, holdout = people(200, 1), people(100, 2)
    columns = columns_of(train.schema, {"code": "identifier"})
    plan = Plan(columns, {}, (), {})
    hashes = [PartView(t, plan).hashes for t in (train, holdout)]
    count = CountMatches(single_rows(*hashes))
    found = count.merge(
        count.partial(PartView(train.slice(0, 30), plan)), count.partial(PartView(holdout.slice(0, 5), plan))
    )
    assert (found.train.sum(), found.holdout.sum()) == (30, 5)
    assert (found.rows_in_train, found.rows_in_holdout, found.rows) == (30, 5, 35)


def test_rows_that_several_people_share_are_not_single():
    one, two, three = (np.array(x, dtype=np.uint64) for x in ([1, 1, 2, 3], [3, 4], [5]))
    found = single_rows(one, np.concatenate([two, three]))
    assert found.train.tolist() == [2]
    assert found.holdout.tolist() == [4, 5]
