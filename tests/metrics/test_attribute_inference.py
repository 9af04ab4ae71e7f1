import pytest

from evidence import look, people
from synthmill.metrics._attacks import Attempts, risk, wilson_rate
from synthmill.metrics._intervals import wilson
from synthmill.metrics.attribute_inference import AttributeInference

REAL = {"train": people(1000, 1), "holdout": people(1000, 6)}


def test_copies_give_secrets_away_and_fresh_rows_do_not():
    leaky = AttributeInference().compute(look(REAL["train"], attacks=300, secrets=("pay", "city"), **REAL))
    assert leaky.value > 0.5
    assert set(leaky.per_column) == {"pay", "city"}
    fresh = AttributeInference().compute(look(people(1000, 5), attacks=300, secrets=("pay", "city"), **REAL))
    assert fresh.ci[0] < 0.1


def test_the_target_is_the_secret_unless_others_are_named():
    assert set(AttributeInference().compute(look(people(300, 5), attacks=50, **REAL)).per_column) == {"outcome"}


def test_rates_are_wilsons_and_risk_is_what_is_left_after_the_control():
    centre, half = wilson_rate(30, 100, 0.95)
    assert (centre - half, centre + half) == pytest.approx(wilson(30, 100))
    none, interval = risk(Attempts(main=30, control=30, baseline=10, number=100), 0.95)
    assert none == 0
    assert interval[0] == 0
    full, _ = risk(Attempts(main=10_000, control=0, baseline=0, number=10_000), 0.95)
    assert full > 0.99
