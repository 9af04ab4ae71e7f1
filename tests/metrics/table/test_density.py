import numpy as np
import pyarrow as pa
import pytest

from evidence import look, people, shuffled_columns
from oracle_values import tables, values
from synthmill.metrics.lib.prdc import coverage, neighbour_radii
from synthmill.metrics.table.density import Density


def test_agrees_with_prdc():
    real, fake = (np.array(tables()[name], dtype=np.float32) for name in ("cloud", "other"))
    radii = neighbour_radii(real)
    assert coverage(real, radii, fake).density == pytest.approx(values()["prdc"]["density"])


def test_real_rows_have_density_1_and_shuffled_ones_less():
    real = {"train": people(1200, 1), "holdout": people(1200, 6)}
    mine = Density().compute(look(people(1200, 5), **real))
    assert mine.value == pytest.approx(1, abs=0.12)
    assert mine.ci[0] < 1.05
    assert Density().compute(look(shuffled_columns(people(1200, 5)), **real)).value < mine.value - 0.1


def test_a_table_of_few_different_rows_has_none():
    def draw(seed):
        rng = np.random.default_rng(seed)
        return pa.table({"a": rng.integers(0, 2, 400).astype(str), "b": rng.integers(0, 3, 400).astype(str)})

    result = Density().compute(look(draw(3), train=draw(1), holdout=draw(2), target=None, kinds={}))
    assert result.status == "unavailable"
    assert "diversity.coverage" in result.reason


def test_too_few_rows():
    assert Density().compute(look(people(5, 5))).status == "unavailable"
