import numpy as np
import pytest

from evidence import look, people, shuffled_columns
from synthmill.metrics.table.mmd import Mmd, median_distance, mmd2


def naive(x, y, width):
    def k(a, b):
        return np.exp(-((a - b) ** 2).sum() / (2 * width**2))

    n = len(x)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    return sum(k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(x[j], y[i]) for i, j in pairs) / (
        n * (n - 1)
    )


def test_agrees_with_the_definition():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)).astype(np.float32), rng.normal(0.5, 1, (20, 3)).astype(np.float32)
    assert mmd2(x, y, 1.7).value == pytest.approx(naive(x, y, 1.7), abs=1e-6)


def test_it_is_unbiased_and_its_variance_is_right_without_a_difference():
    rng = np.random.default_rng(0)
    found = [mmd2(*(rng.normal(size=(60, 2)).astype(np.float32) for _ in range(2)), 1.5) for _ in range(300)]
    values = np.array([f.value for f in found])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(300)
    assert 0.9 < np.sqrt(np.mean([f.variance for f in found])) / values.std() < 1.5


def test_lost_dependence_is_many_standard_errors_off():
    result = Mmd().compute(look(shuffled_columns(people(800, 5)), holdout=people(800, 6)))
    assert result.aspects["excess_in_standard_errors"].value > 2
    fresh = Mmd().compute(look(people(800, 5), holdout=people(800, 6)))
    assert abs(fresh.aspects["excess_in_standard_errors"].value) < 4
    assert fresh.ci[0] < 0.001


def test_a_constant_table_has_a_width():
    assert median_distance(np.zeros((10, 2), dtype=np.float32)) == 1
    assert Mmd().compute(look(people(5, 5))).status == "unavailable"
