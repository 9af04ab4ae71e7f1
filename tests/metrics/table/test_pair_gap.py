import numpy as np
import pyarrow as pa
import pytest

from evidence import look, people, shuffled_columns
from synthmill.metrics.table.marginal_gap import MarginalGap
from synthmill.metrics.table.pair_gap import PairGap, distance_from_independence


def test_lost_dependence_shows_in_pairs_and_not_in_columns():
    evidence = look(shuffled_columns(people(3000, 5)), train=people(3000, 1), holdout=people(2000, 6))
    assert abs(MarginalGap().compute(evidence).value) < 0.01
    result = PairGap().compute(evidence)
    worst = result.aspects["worst_decile"]
    assert worst.value > 0.05
    assert worst.ci[0] > worst.reference + 0.02
    assert result.aspects["lost_share"].value == pytest.approx(1, abs=0.2)
    assert "city|smoker" in result.details["top_pairs"]


def test_real_rows_have_no_gap():
    result = PairGap().compute(look(people(3000, 5), train=people(3000, 1), holdout=people(2000, 6)))
    assert result.aspects["worst_decile"].value < 0.03
    assert result.ci[0] < result.value < result.ci[1]
    assert len(result.per_column) == 21
    assert result.aspects["lost_share"].value < 0.2


def test_a_table_without_dependence_has_none_to_lose():
    rng = np.random.default_rng(0)

    def noise(rows):
        return pa.table({name: rng.integers(0, 4, rows).astype(str) for name in "abcd"})

    result = PairGap().compute(look(noise(2000), train=noise(2000), target=None, kinds={}))
    assert result.aspects["lost_share"].value == 0


def test_distance_from_independence():
    assert distance_from_independence(np.diag([500, 500])) == pytest.approx(0.5, abs=0.03)
    assert distance_from_independence(np.full((3, 3), 200)) == 0
    assert distance_from_independence(np.zeros((2, 2), dtype=int)) == 0


def test_a_single_column_has_no_pairs():
    one = people(50, 1).select(["city"])
    assert PairGap().compute(look(one, train=one, target=None)).status == "not_applicable"
