"""Curves and numeric codes: ranks and values are inverse, knots are no one's value, segments are chosen by
the rows they hold."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from synthmill.config import DataConfig
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.numeric import Curve, fit_curve
from synthmill.data.resolution import COARSE


def codec_of(values: object, **more: object) -> MixedCodec:
    return MixedCodec.fit(pa.table({"x": values, **more}), DataConfig(source="x"), {})


def test_a_curve_maps_between_knots_and_jumps_over_gaps() -> None:
    curve = Curve(q=np.array([0.0, 0.4, 0.4, 0.8, 1.0]), x=np.array([0.0, 4.0, 10.0, 10.0, 20.0]))
    assert curve.values(np.array([0.0, 0.2, 0.39999, 0.4, 0.6, 0.9, 1.0])).tolist() == pytest.approx(
        [0, 2, 3.9999, 10, 10, 15, 20]
    )
    assert curve.ranks(np.array([0.0, 2.0, 4.0, 7.0, 10.0, 15.0, 20.0])).tolist() == pytest.approx(
        [0, 0.2, 0.4, 0.4, 0.6, 0.9, 1.0]
    )
    assert curve.ranks(np.array([-5.0, 25.0])).tolist() == [0.0, 1.0]


def test_a_value_below_an_atom_at_the_lower_end_ranks_no_higher_than_it() -> None:
    curve = Curve(q=np.array([0.0, 0.25, 1.0]), x=np.array([0.0, 0.0, 8.0]))
    assert curve.ranks(np.array([-1.0, 0.0, 8.0])).tolist() == [0.125, 0.125, 1.0]


@example([0.1] * 3)
@example([943379951239.5093] * 5)
@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.floats(-1e12, 1e12), st.integers(-3, 3).map(float)), min_size=1, max_size=300))
def test_curves_are_monotone_and_inverse_on_their_own_values(values: list[float]) -> None:
    curve = fit_curve(np.array(values))
    assert (np.diff(curve.q) >= 0).all()
    assert (np.diff(curve.x) >= 0).all()
    assert (curve.q[0], curve.q[-1]) == (0.0, 1.0)
    assert min(values) <= curve.x[0] <= curve.x[-1] <= max(values)
    ranks = curve.ranks(np.sort(values))
    assert (np.diff(ranks) >= -1e-12).all()
    inside = np.clip(np.sort(values), curve.x[0], curve.x[-1])
    scale = max(1.0, abs(curve.x[0]), abs(curve.x[-1]))
    in_a_gap = np.isin(ranks, curve.q[:-1][np.diff(curve.q) == 0])
    assert np.abs(curve.values(curve.ranks(inside)) - inside)[~in_a_gap].max(initial=0) <= 1e-6 * scale


def test_no_knot_is_one_persons_value() -> None:
    values = np.random.default_rng(0).lognormal(0, 2, 5000)
    curve = fit_curve(values)
    assert not set(values.tolist()) & set(curve.x.tolist())
    ordered = np.sort(values)
    assert curve.x[0] == pytest.approx(ordered[:5].mean())
    assert curve.x[-1] == pytest.approx(ordered[-5:].mean())
    assert COARSE.max_knots / 2 < len(curve.x) < 1.5 * COARSE.max_knots


def test_an_atom_keeps_its_share() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(size=900), np.full(100, 0.5)])
    made = fit_curve(values).values(np.linspace(0, 1, 10_001))
    assert (made == 0.5).mean() == pytest.approx(0.1, abs=0.002)


@pytest.mark.parametrize("draw", ["normal", "lognormal", "uniform", "bimodal", "cauchy"])
def test_uniform_ranks_follow_the_distribution(draw: str) -> None:
    """Kolmogorov-Smirnov distance between 20,000 values and values at uniform ranks."""
    rng = np.random.default_rng(0)
    values = {
        "normal": rng.normal(size=20_000),
        "lognormal": rng.lognormal(0, 2, 20_000),
        "uniform": rng.random(20_000),
        "bimodal": np.concatenate([rng.normal(-5, 1, 10_000), rng.normal(5, 0.1, 10_000)]),
        "cauchy": rng.standard_cauchy(20_000),
    }[draw]
    made = np.sort(fit_curve(values).values((np.arange(20_000) + 0.5) / 20_000))
    at = np.searchsorted(made, np.sort(values), side="right") / 20_000
    assert np.abs(at - np.arange(1, 20_001) / 20_000).max() < 0.005


def test_few_frequent_values_are_levels_and_many_are_a_curve() -> None:
    grades = codec_of(np.repeat([1, 2, 3, 5, 8], 40))
    assert [(span.role, span.width) for span in grades.layout.discrete] == [("category", 5)]
    assert grades.layout.numeric == ()
    assert grades.levels("x") == ["1", "2", "3", "5", "8"]
    assert grades.code_of("x", "5") == (0, 3)
    assert grades.code_of("x", "4") is None
    curve = codec_of(np.random.default_rng(0).normal(size=1000))
    assert [(span.role, span.width) for span in curve.layout.discrete] == [("segment", 10)]
    assert curve.levels("x") is None
    assert curve.code_of("x", "0") is None


def test_a_rare_value_among_levels_joins_the_nearest() -> None:
    codec = codec_of(np.concatenate([np.repeat([1, 2, 10], 100), [9, 9]]))
    assert codec.profile.column("x").points == (1, 2, 10)
    rows = codec.decode(codec.encode(pa.table({"x": [9, 3, 1]})), first_row=0)
    assert rows["x"].to_pylist() == [10, 2, 1]


@pytest.mark.parametrize(("rest_rows", "segments"), [(30, 1), (100, 4), (1000, 10)])
def test_segments_follow_the_rows_outside_point_masses(rest_rows: int, segments: int) -> None:
    rest = np.random.default_rng(0).normal(5, 1, rest_rows)
    codec = codec_of(np.concatenate([np.zeros(1000), rest]))
    assert codec.layout.numeric[0].segments == segments
    assert codec.layout.discrete[0].width == segments + 1


def test_segments_hold_equal_shares() -> None:
    values = np.random.default_rng(0).lognormal(0, 3, 5000)
    codes = codec_of(values).encode(pa.table({"x": values}))["codes"][:, 0]
    assert np.bincount(codes.numpy()).tolist() == pytest.approx([500] * 10, abs=3)


def test_a_point_needs_a_percent_of_the_rows_and_twenty_of_them() -> None:
    rng = np.random.default_rng(0)
    for mass, points in ((19, ()), (20, (0.0,)), (21, (0.0,))):
        assert (
            codec_of(np.concatenate([np.zeros(mass), rng.normal(9, 1, 1000)])).profile.column("x").points
            == points
        )
    assert codec_of(np.concatenate([np.zeros(30), rng.normal(9, 1, 5000)])).profile.column("x").points == ()


@pytest.mark.parametrize("origin", [2**60, -(2**62), 1_700_000_000_000_000_000])
def test_neighbours_beyond_two_to_the_53_stay_apart(origin: int) -> None:
    values = origin + np.random.default_rng(0).integers(0, 1000, 2000) * 3
    codec = codec_of(values)
    rows = codec.decode(codec.encode(pa.table({"x": values})), first_row=0)["x"].to_numpy()
    assert np.abs(rows - values).max() <= 12
    assert (rows == values).mean() > 0.5
