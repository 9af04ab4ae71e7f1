import numpy as np
import pytest
from scipy import stats

from evidence import look, people, with_copies
from synthmill.metrics.lib.intervals import clopper_pearson
from synthmill.metrics.table.membership import Membership, exceed_p, judge_scores, rate_interval


def test_copies_are_recognised_at_a_low_false_positive_rate():
    train = people(1500, 1)
    leaky = with_copies(people(1500, 5), train, 0.2)
    result = Membership().compute(
        look(leaky, train=train, holdout=people(1500, 6), validation=people(400, 7))
    )
    assert result.value > 0.1
    assert result.ci[0] > 0.08
    assert result.details["strongest"] == "nearest"
    assert result.aspects["nearest_auc"].value < 0.7
    assert result.aspects["p_value"].value < 1e-6


def test_fresh_rows_are_not():
    result = Membership().compute(
        look(people(1500, 5), train=people(1500, 1), holdout=people(1500, 6), validation=people(400, 7))
    )
    assert result.value < 0.025
    assert result.reference == 0.01
    assert {"nearest", "calibrated", "outliers"} <= set(result.aspects)


def test_without_validation_other_training_rows_are_the_reference():
    result = Membership().compute(look(people(500, 5), train=people(1500, 1), holdout=people(500, 6)))
    assert result.n["reference"] == 1000


def test_the_chance_of_so_many_hits_agrees_with_drawing():
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(3000):
        scores = rng.normal(size=400)
        drawn.append(judge_scores(scores[:200], scores[200:], 0.01).hits)
    for hits in (3, 8):
        assert exceed_p(hits, 2, 200, 200) == pytest.approx(np.mean(np.array(drawn) >= hits), abs=0.02)
    assert exceed_p(0, 2, 200, 200) == 1


def test_the_interval_holds_the_true_rate_though_the_threshold_is_estimated():
    rng = np.random.default_rng(0)
    truth = float(stats.norm.sf(stats.norm.isf(0.01) - 1.0))
    held = []
    for _ in range(400):
        attack = judge_scores(rng.normal(1.0, size=1000), rng.normal(size=1000), 0.01)
        low, high = rate_interval(attack, 0.95, rng)
        held.append(low <= truth <= high)
        exact = clopper_pearson(attack.hits, 1000)
        assert low <= exact[0] <= exact[1] <= high
    assert np.mean(held) >= 0.92


def test_too_few_rows_a_side():
    result = Membership().compute(look(people(500, 5), holdout=people(60, 6)))
    assert result.status == "unavailable"
    assert result.gate_n == 60
