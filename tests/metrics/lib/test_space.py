import numpy as np
import pyarrow as pa

from evidence import KINDS, people
from synthmill.metrics.lib.columns import columns_of
from synthmill.metrics.lib.space import fit_space


def test_equal_rows_are_equal_points_and_identifiers_do_not_matter():
    table = people(300, 1)
    space = fit_space(columns_of(table.schema, KINDS), [table])
    points = space.points(table)
    assert points.dtype == np.float32
    assert np.isfinite(points).all()
    renamed = table.set_column(7, "code", pa.array(["same"] * 300))
    np.testing.assert_array_equal(points, space.points(renamed))


def test_two_levels_are_at_squared_distance_2_also_when_hashed():
    few = pa.table({"c": ["a", "b", "a"]})
    space = fit_space(columns_of(few.schema, {}), [few])
    a, b, again = space.points(few)
    assert ((a - b) ** 2).sum() == 2
    assert ((a - again) ** 2).sum() == 0
    many = pa.table({"c": [f"level {i}" for i in range(400)]})
    points = fit_space(columns_of(many.schema, {}), [many]).points(many)
    gaps = ((points[:200] - points[200:]) ** 2).sum(axis=1)
    assert abs(gaps.mean() - 2) < 0.15


def test_outliers_stay_apart_without_ruling_distances():
    values = np.concatenate([np.random.default_rng(0).normal(size=500), [1e6, 2e6]])
    table = pa.table({"x": values})
    points = fit_space(columns_of(table.schema, {}), [table]).points(table)[:, 0]
    assert points[-1] > points[-2] > 10
    assert points[-1] < 20
    assert (np.diff(points[np.argsort(values)]) >= 0).all()


def test_a_category_without_any_level_shifts_no_other_column():
    fitted = pa.table(
        {"empty": pa.array([None] * 3, pa.string()), "x": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 3.0]}
    )
    space = fit_space(columns_of(fitted.schema, {}), [fitted])
    points = space.points(fitted)
    assert points.shape[1] == max(place.stop for place in space.groups.values())
    moved = space.points(fitted.set_column(2, "y", pa.array([5.0, 5.0, 5.0])))
    changed = np.flatnonzero((points != moved).any(axis=0))
    assert list(changed) == list(range(space.groups["y"].start, space.groups["y"].stop))
    filled = space.points(fitted.set_column(0, "empty", pa.array(["a", None, "b"])))
    assert (filled != points).any(axis=1).tolist() == [True, False, True]


def test_missing_and_unseen_are_places_of_their_own():
    fitted = pa.table({"x": pa.array([1.0, 2.0, None]), "c": ["a", "b", "a"]})
    space = fit_space(columns_of(fitted.schema, {}), [fitted])
    points = space.points(
        pa.table({"x": pa.array([None, 1.5, 1.5]), "c": ["a", "new", None]}, schema=fitted.schema)
    )
    assert len(np.unique(points, axis=0)) == 3
