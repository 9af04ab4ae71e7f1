import numpy as np
import pytest

from evidence import look
from oracle_values import KINDS, tables, values
from synthmill.metrics.table.column_pair_trends import ColumnPairTrends


def test_agrees_with_sdmetrics():
    oracle, expected = tables(), values()["sdmetrics"]
    result = ColumnPairTrends().compute(look(oracle["fake"], train=oracle["real"], target=None, kinds=KINDS))
    assert result.per_column == pytest.approx(expected["pair"], abs=1e-9)
    assert result.value == pytest.approx(expected["column_pair_trends"], abs=1e-9)
    assert result.aspects["associated_pairs"].value == pytest.approx(expected["associated_pairs"], abs=1e-9)
    assert result.aspects["associated_pairs"].value != result.value
    assert result.per_column["age|pay"] == pytest.approx(expected["correlation"])
    assert result.per_column["city|smoker"] == pytest.approx(expected["contingency"])


def test_the_same_table_scores_1():
    real = tables()["real"]
    assert ColumnPairTrends().compute(
        look(real, train=real, target=None, kinds=KINDS)
    ).value == pytest.approx(1)


def test_the_interval_is_as_wide_as_that_of_a_bootstrap():
    real, fake = tables()["real"], tables()["fake"]
    found = ColumnPairTrends().compute(look(fake, train=real, target=None, kinds=KINDS))
    rng, again = np.random.default_rng(0), []
    for _ in range(120):
        sides = [t.take(rng.integers(t.num_rows, size=t.num_rows)) for t in (real, fake)]
        again.append(
            ColumnPairTrends().compute(look(sides[1], train=sides[0], target=None, kinds=KINDS)).value
        )
    low, high = found.ci
    assert low < found.value < high
    assert (high - low) / 3.92 == pytest.approx(np.std(again), rel=0.25)
