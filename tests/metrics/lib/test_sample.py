from itertools import pairwise

import numpy as np
import pyarrow as pa

from synthmill.metrics.lib.binning import Plan
from synthmill.metrics.lib.sample import SampleRows, draw, row_keys
from synthmill.metrics.lib.view import PartView


def sampled(table, cuts, limit, seed):
    statistic, plan = SampleRows(limit, seed), Plan((), {}, (), {})
    states = [statistic.partial(PartView(table.slice(a, b - a), plan, a)) for a, b in pairwise(cuts)]
    state = states[0]
    for other in states[1:]:
        state = statistic.merge(state, other)
    return statistic.finish(state)["x"].to_pylist()


def test_the_sample_does_not_depend_on_how_the_table_is_cut():
    table = pa.table({"x": np.arange(5000)})
    first = sampled(table, [0, 5000], 100, 3)
    assert first == sampled(table, [0, 10, 1234, 4999, 5000], 100, 3)
    assert len(set(first)) == 100
    assert first == draw(table, 100, 3)["x"].to_pylist()


def test_a_known_number_of_rows_changes_what_parts_keep_and_not_the_sample():
    table = pa.table({"x": np.arange(20_000)})
    plan = Plan((), {}, (), {})
    plain, bounded = SampleRows(200, 3), SampleRows(200, 3, known_rows=20_000)
    parts = [PartView(table.slice(a, 5_000), plan, a) for a in range(0, 20_000, 5_000)]
    kept = [bounded.partial(part) for part in parts]
    assert sum(len(k.keys) for k in kept) < 450
    state = kept[0]
    for other in kept[1:]:
        state = bounded.merge(state, other)
    assert (
        bounded.finish(state)["x"].to_pylist()
        == plain.finish(plain.partial(PartView(table, plan)))["x"].to_pylist()
    )


def test_another_seed_is_another_sample_and_no_limit_is_everything():
    table = pa.table({"x": np.arange(500)})
    assert sampled(table, [0, 500], 50, 0) != sampled(table, [0, 500], 50, 1)
    assert sorted(sampled(table, [0, 200, 500], None, 0)) == list(range(500))


def test_every_row_is_as_likely_as_any_other():
    picks = np.concatenate([np.argsort(row_keys(0, 200, seed))[:20] for seed in range(2000)])
    counts = np.bincount(picks, minlength=200)
    assert abs(counts - 200).max() < 6 * np.sqrt(200)
