import numpy as np
import pytest
from scipy import stats

from oracle_values import values
from synthmill.metrics.lib.intervals import (
    auc,
    bootstrap_weights,
    clopper_pearson,
    excess_p,
    expected_variation,
    holm,
    normal_interval,
    percentile_interval,
    rate_difference,
    total_variation,
    weighted_auc,
    wilson,
)

ORACLE = values()["scipy"]


def numbers(key):
    return [int(x) for x in key.split(",")]


@pytest.mark.parametrize(("function", "name"), [(clopper_pearson, "clopper_pearson"), (wilson, "wilson")])
def test_proportion_intervals_agree_with_statsmodels(function, name):
    for key, expected in ORACLE[name].items():
        np.testing.assert_allclose(function(*numbers(key)), expected, atol=1e-9)
    assert function(0, 0) == (0.0, 1.0)


def test_newcombe_interval_agrees_with_statsmodels():
    for key, expected in ORACLE["newcombe"].items():
        np.testing.assert_allclose(rate_difference(*numbers(key)), expected, atol=1e-9)


def test_excess_agrees_with_fisher_and_nears_the_binomial_test():
    for key, expected in ORACLE["fisher_greater"].items():
        a, b, num_a, num_b = numbers(key)
        assert excess_p(a, b, num_a, num_b) == pytest.approx(expected, rel=1e-6)
    for key, expected in ORACLE["binomial_greater"].items():
        a, b = numbers(key)
        assert excess_p(a, b, 100_000, 100_000) == pytest.approx(expected, rel=0.01)
    assert excess_p(0, 0, 10, 10) == 1


def test_excess_p_is_never_too_small_under_chance():
    rng = np.random.default_rng(0)
    p = []
    for _ in range(2000):
        hit = rng.choice(400, 30, replace=False)
        p.append(excess_p(int((hit < 200).sum()), int((hit >= 200).sum()), 200, 200))
    for level in (0.05, 0.01):
        assert np.mean(np.array(p) <= level) <= level + 3 * np.sqrt(level / 2000)


def test_auc_agrees_with_sklearn_and_its_variance_with_a_bootstrap():
    positive, negative = np.array(ORACLE["auc"]["positive"]), np.array(ORACLE["auc"]["negative"])
    value, variance = auc(positive, negative)
    assert value == pytest.approx(ORACLE["auc"]["value"], abs=1e-12)
    rng = np.random.default_rng(0)
    drawn = [auc(rng.choice(positive, 60), rng.choice(negative, 90))[0] for _ in range(1000)]
    assert np.sqrt(variance) == pytest.approx(np.std(drawn), rel=0.1)


def test_weighted_auc_is_the_auc_of_repeated_rows():
    rng = np.random.default_rng(0)
    truth, score = rng.random(80) < 0.4, rng.normal(size=80).round(1)
    weights = bootstrap_weights(80, 5, rng)
    found = weighted_auc(truth, score, weights)
    for row, value in zip(weights.astype(int), found, strict=True):
        t, s = np.repeat(truth, row), np.repeat(score, row)
        assert value == pytest.approx(auc(s[t], s[~t])[0])
    assert np.isnan(weighted_auc(np.ones(80, dtype=bool), score, weights)).all()


def test_expected_variation_is_what_two_samples_of_one_distribution_show():
    rng = np.random.default_rng(0)
    p = np.array([0.4, 0.3, 0.2, 0.1])
    seen = [total_variation(rng.multinomial(500, p), rng.multinomial(800, p)) for _ in range(2000)]
    assert expected_variation((p * 10_000).astype(int), 500, 800) == pytest.approx(np.mean(seen), rel=0.03)


def test_total_variation_of_empty_and_disjoint_histograms():
    assert total_variation(np.array([0, 0]), np.array([0, 0])) == 0
    assert total_variation(np.array([1, 0]), np.array([0, 0])) == 1
    assert total_variation(np.array([5, 0]), np.array([0, 5])) == 1


def test_holm_agrees_with_statsmodels():
    np.testing.assert_allclose(holm(ORACLE["holm"]["p"]), ORACLE["holm"]["adjusted"])


def test_normal_and_percentile_intervals():
    low, high = normal_interval(1.0, 4.0)
    assert (low, high) == pytest.approx((1 - 2 * stats.norm.ppf(0.975), 1 + 2 * stats.norm.ppf(0.975)))
    assert percentile_interval(np.array([np.nan])) is None
    assert percentile_interval(np.arange(101.0)) == pytest.approx((2.5, 97.5))
