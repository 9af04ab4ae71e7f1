import numpy as np
import pytest

from evidence import look
from oracle_values import KINDS, tables, values
from synthmill.metrics.table.column_shapes import ColumnShapes


def test_agrees_with_sdmetrics():
    oracle, expected = tables(), values()["sdmetrics"]
    result = ColumnShapes().compute(look(oracle["fake"], train=oracle["real"], target=None, kinds=KINDS))
    assert result.value == pytest.approx(expected["column_shapes"], abs=1e-9)
    assert result.per_column == pytest.approx(expected["shape"], abs=1e-9)
    assert result.per_column == pytest.approx({**expected["ks"], **expected["tv"]}, abs=1e-9)


def test_the_same_table_scores_1():
    real = tables()["real"]
    assert ColumnShapes().compute(look(real, train=real, target=None, kinds=KINDS)).value == 1


def test_the_interval_is_as_wide_as_that_of_a_bootstrap():
    """In columns that differ: where they do not, the largest difference varies less than a difference at a
    given place."""
    real, fake = (tables()[side].select(["pay", "city", "smoker"]) for side in ("real", "fake"))
    found = ColumnShapes().compute(look(fake, train=real, target=None, kinds=KINDS))
    rng, again = np.random.default_rng(0), []
    for _ in range(120):
        sides = [t.take(rng.integers(t.num_rows, size=t.num_rows)) for t in (real, fake)]
        again.append(ColumnShapes().compute(look(sides[1], train=sides[0], target=None, kinds=KINDS)).value)
    low, high = found.ci
    assert low < found.value < high
    assert (high - low) / 3.92 == pytest.approx(np.std(again), rel=0.25)
