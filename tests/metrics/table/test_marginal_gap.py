import numpy as np
import pytest

from evidence import look, people, replaced
from synthmill.metrics.table.marginal_gap import MarginalGap


def test_real_rows_have_no_gap_whatever_their_number():
    for rows in (100, 4000):
        result = MarginalGap().compute(look(people(rows, 5), holdout=people(1000, 6)))
        assert abs(result.value) < 0.02
        assert result.ci[0] < 0.005 < result.ci[1] + 0.02
    assert abs(result.reference) < 0.01


def test_one_dead_column_shows_in_the_worst_decile_and_not_in_the_mean():
    fresh = people(2000, 5)
    result = MarginalGap().compute(look(replaced(fresh, "city", ["Ulm"] * 2000)))
    assert result.value == pytest.approx(0.95 / 7, abs=0.03)
    assert result.aspects["worst_decile"].value == result.per_column["city"] == pytest.approx(0.92, abs=0.04)


def test_the_interval_covers_the_true_gap():
    """Bernoulli columns with a known gap of 0.1; 95% intervals should cover it about 95% of the time."""
    import pyarrow as pa

    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(60):
        train = pa.table({"x": (rng.random(800) < 0.5).astype(str)})
        fake = pa.table({"x": (rng.random(600) < 0.6).astype(str)})
        result = MarginalGap().compute(look(fake, train=train, target=None, kinds={}))
        noise = 0.5 * np.sqrt(2 / np.pi * 0.25 * (1 / 800 + 1 / 600)) * 2
        hits += result.ci[0] <= 0.1 - noise <= result.ci[1]
    assert hits >= 52


def test_only_identifiers():
    codes = people(50, 1).select(["code"])
    assert MarginalGap().compute(look(codes, train=codes, target=None)).status == "unavailable"
