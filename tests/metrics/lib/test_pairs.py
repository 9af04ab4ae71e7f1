import numpy as np
import pyarrow as pa

from evidence import look
from synthmill.metrics.lib.pairs import MAX_CANDIDATES, candidate_pairs
from synthmill.metrics.table.pair_gap import PairGap


def wide(rows: int, seed: int, columns: int = 240) -> pa.Table:
    values = np.random.default_rng(seed).normal(size=(rows, columns)).round(3)
    values[:, 1] = values[:, 0] + values[:, 1] / 10
    return pa.table({f"c{i}": values[:, i] for i in range(columns)})


def test_narrow_tables_look_at_every_pair():
    assert candidate_pairs(4, 0) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


def test_wide_tables_look_at_a_seeded_sample():
    one, again, other = (candidate_pairs(3000, seed) for seed in (1, 1, 2))
    assert len(one) == MAX_CANDIDATES == len(set(one))
    assert one == again != other
    assert all(i < j < 3000 for i, j in one)
    assert (0, 1) in one


def test_real_rows_of_a_wide_table_pass_and_lost_dependence_is_seen():
    real = {"train": wide(400, 1), "holdout": wide(300, 2), "target": None, "kinds": {}}
    found = PairGap().compute(look(wide(400, 3), **real))
    assert found.aspects["worst_decile"].value < 0.1
    assert found.details["top_pairs"][0] == "c0|c1"
    assert "seeded sample of 20,000 of 28,680 pairs" in found.method
    assert found.n["pairs looked at"] == MAX_CANDIDATES
    fresh = wide(400, 3)
    broken = fresh.set_column(1, "c1", fresh["c1"].take(np.random.default_rng(0).permutation(400)))
    assert PairGap().compute(look(broken, **real)).per_column["c0|c1"] > 0.3
