import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from evidence import look, people
from oracle_values import tables, values
from synthmill.metrics.lib.prdc import coverage, expected_coverage, neighbour_radii
from synthmill.metrics.table.coverage import Coverage


def test_agrees_with_prdc():
    real, fake = (np.array(tables()[name], dtype=np.float32) for name in ("cloud", "other"))
    radii = neighbour_radii(real)
    found = coverage(real, radii, fake)
    assert found.covered / len(real) == pytest.approx(values()["prdc"]["coverage"])


def test_expectation_is_what_two_samples_of_one_distribution_show():
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(30):
        real, fake = (rng.normal(size=(300, 4)).astype(np.float32) for _ in range(2))
        radii = neighbour_radii(real)
        seen.append(coverage(real, radii, fake).covered / 300)
    assert np.mean(seen) == pytest.approx(expected_coverage(300), abs=0.01)


def test_a_dropped_region_is_not_covered():
    fresh, real = people(3000, 5), {"train": people(1500, 1), "holdout": people(1500, 6)}
    young = fresh.filter(pc.less(fresh["age"], 35)).slice(0, 700)
    result = Coverage().compute(look(young, **real))
    assert result.aspects["ratio"].value < 0.75
    whole = Coverage().compute(look(fresh.slice(0, 700), **real))
    assert 0.95 < whole.aspects["ratio"].value < 1.05
    assert whole.ci[0] < whole.value < whole.ci[1]


def test_too_few_rows_and_no_holdout():
    assert Coverage().compute(look(people(5, 5))).status == "unavailable"
    result = Coverage().compute(look(people(200, 5)))
    assert result.reference == pytest.approx(expected_coverage(200))


def test_rows_that_occur_often_are_covered_by_equal_rows_and_nothing_is_divided_by_nothing():
    few = pa.table({"a": ["x", "y"] * 200})
    found = Coverage().compute(look(few, train=few, holdout=few, target=None, kinds={}))
    assert (found.value, found.aspects["ratio"].value) == (1.0, 1.0)
    other = pa.table({"a": ["z"] * 400})
    nowhere = Coverage().compute(look(few, train=few, holdout=other, target=None, kinds={}))
    assert (nowhere.reference, nowhere.aspects["ratio"].value) == (0.0, None)
