"""What children are told of parents: coarse codes that no single row decides."""

import numpy as np
import pyarrow as pa

from synthmill.data.relations.context import association, fit_context


def test_bins_have_about_equal_shares_and_limits_that_are_nobodys() -> None:
    values = np.exp(np.random.default_rng(0).normal(0, 1, 1000))
    column = fit_context("a", "t", "a", pa.array(values))
    assert column is not None
    codes = column.codes(pa.array(values))
    assert column.width == 18
    assert np.bincount(codes).max() < 80
    assert not set(column.edges) & set(values.tolist())


def test_categories_of_few_rows_are_one_and_missing_is_another() -> None:
    column = fit_context("a", "t", "a", pa.array(["x"] * 10 + ["y"] * 6 + ["rare"] * 4 + [None] * 3))
    assert column is not None
    assert column.levels == ("x", "y")
    assert column.codes(pa.array(["y", "rare", None, "new"])).tolist() == [1, 2, 3, 2]


def test_texts_are_read_back_and_nobody_is_none_of_them() -> None:
    for cells in (pa.array([1.0, 2.0, None, 50.0] * 20), pa.array(["other", "b", "nobody", None] * 20)):
        column = fit_context("a", "t", "a", cells)
        assert column is not None
        codes = np.append(column.codes(cells), -1)
        assert column.codes_of_texts(column.texts(codes)).tolist() == codes.tolist()


def test_odd_columns_are_told_or_left_out() -> None:
    assert fit_context("a", "t", "a", pa.array([1.5] * 40)) is None
    assert fit_context("a", "t", "a", pa.nulls(40, pa.string())) is None
    big = pa.array([2**62 + n for n in range(100)])
    moments = pa.array(range(100), pa.timestamp("us"))
    wild = pa.array([float("inf"), float("-inf"), float("nan"), *np.arange(97.0)])
    for cells in (big, moments, wild, pa.array([True, False, None] * 20)):
        column = fit_context("a", "t", "a", cells)
        assert column is not None
        assert len(set(column.codes(cells).tolist())) > 1


def test_association_is_0_without_and_1_with_full_dependence() -> None:
    draws = np.random.default_rng(0)
    one, other = draws.integers(0, 5, 4000), draws.integers(0, 4, 4000)
    assert association(one, 5, other, 4) < 0.03
    assert association(one, 5, (one + 1) % 5, 5) > 0.999
    assert association(one[:1], 5, other[:1], 4) == 0.0
