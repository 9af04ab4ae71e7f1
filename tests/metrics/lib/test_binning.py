import numpy as np
import pyarrow as pa

from oracle_values import tables, values
from synthmill.metrics.lib.binning import bin_levels, bin_numbers, count_pair, cramers_v, fit_bins
from synthmill.metrics.lib.columns import columns_of, floats, texts


def bins_of(values, kind=None):
    table = pa.table({"x": values})
    return fit_bins(columns_of(table.schema, {"x": kind} if kind else {})[0], table["x"])


def test_a_point_with_a_tenth_of_the_rows_has_its_own_bin_and_the_rest_its_deciles():
    rng = np.random.default_rng(0)
    values = np.concatenate([np.zeros(500), rng.normal(10, 1, 500)])
    bins = bins_of(values)
    codes = bin_numbers(bins, values)
    assert list(bins.atoms) == [0.0]
    assert np.unique(codes[:500]).size == 1
    counts = np.bincount(codes[500:], minlength=bins.size)
    assert counts[codes[0]] == 0
    assert (counts[:10] >= 45).all()


def test_missing_and_infinite_numbers_have_a_bin():
    bins = bins_of(np.arange(1000.0))
    codes = bin_numbers(bins, np.array([np.nan, np.inf, -np.inf]))
    assert codes[0] == bins.size - 1
    assert codes[1] == len(bins.edges)
    assert codes[2] == 0


def test_rare_and_unknown_levels_share_a_bin():
    column = pa.array(["a"] * 10 + ["b"] * 7 + ["rare"] + [None])
    bins = fit_bins(columns_of(pa.schema([("x", pa.string())]), {})[0], pa.chunked_array([column]))
    codes = bin_levels(bins, *texts(pa.array(["a", "b", "rare", "new", None])))
    assert codes.tolist() == [0, 1, 2, 2, 3]
    assert bins.levels["rare"] == 2


def test_an_all_missing_column_has_bins():
    bins = fit_bins(
        columns_of(pa.schema([("x", pa.float64())]), {})[0],
        pa.chunked_array([pa.array([None, None], pa.float64())]),
    )
    assert bin_numbers(bins, np.array([np.nan, 3.0])).tolist() == [1, 0]


def test_bins_are_a_function_of_the_values_not_their_order():
    values = np.random.default_rng(1).normal(size=400)
    np.testing.assert_array_equal(bins_of(values).edges, bins_of(values[::-1].copy()).edges)


def test_pair_counts_agree_with_a_loop():
    left, right = np.array([0, 1, 1, 2]), np.array([1, 0, 0, 1])
    counts = count_pair(left, right, 3, 2)
    assert counts.tolist() == [[0, 1], [2, 0], [0, 1]]


def test_cramers_v_of_independence_is_0_and_of_identity_1():
    assert cramers_v(np.full((3, 4), 100)) == 0
    assert cramers_v(np.diag([50, 50, 50])) > 0.99
    assert cramers_v(np.array([[10, 20]])) == 0


def test_cramers_v_is_near_the_uncorrected_one_of_scipy():
    real = tables()["real"]
    sides = [texts(real[name]) for name in ("city", "smoker")]
    keep = (sides[0][0] >= 0) & (sides[1][0] >= 0)
    counts = count_pair(sides[0][0][keep], sides[1][0][keep], len(sides[0][1]), len(sides[1][1]))
    assert cramers_v(counts) <= values()["scipy"]["cramers_v"]


def test_numbers_of_an_integer_column_are_binned_like_floats():
    column = pa.chunked_array([pa.array([1, 2, 3, None] * 50)])
    bins = fit_bins(columns_of(pa.schema([("x", pa.int64())]), {})[0], column)
    assert bin_numbers(bins, floats(column)).max() == bins.size - 1
