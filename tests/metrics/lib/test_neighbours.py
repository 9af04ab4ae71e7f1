import numpy as np
import pytest

from synthmill.metrics.lib import neighbours
from synthmill.metrics.lib.neighbours import count_within, nearest


def points(rows, seed, width=5):
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


def brute(a, b):
    return np.sqrt(((a[:, None].astype(float) - b[None]) ** 2).sum(axis=2))


@pytest.mark.parametrize("k", [1, 4])
def test_neighbours_agree_with_all_distances(k, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK_CELLS", 500)
    a, b = points(60, 0), points(90, 1)
    distances, indices = nearest(a, b, k)
    table = brute(a, b)
    np.testing.assert_allclose(distances, np.sort(table, axis=1)[:, :k], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(table, indices, axis=1), distances, atol=1e-5)


def test_a_copy_is_at_distance_0_and_a_row_is_not_its_own_neighbour():
    a = points(50, 0) * 100
    assert (nearest(a[:10], a)[0] == 0).all()
    assert (nearest(a, a, 1, skip_self=True)[0] > 0).all()


def test_counts_within_a_radius_agree_with_all_distances():
    a, b = points(40, 2), points(30, 3)
    radii = np.random.default_rng(0).uniform(1, 3, 30)
    np.testing.assert_array_equal(count_within(a, b, radii), (brute(a, b) < radii).sum(axis=0))


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="3 neighbours need"):
        nearest(points(5, 0), points(2, 1), 3)
