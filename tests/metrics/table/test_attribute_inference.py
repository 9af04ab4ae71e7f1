import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from evidence import look, people
from synthmill.metrics.lib.attacks import Attempts, risk, wilson_rate
from synthmill.metrics.lib.intervals import wilson
from synthmill.metrics.table.attribute_inference import AttributeInference

REAL = {"train": people(1000, 1), "holdout": people(1000, 6)}


def test_copies_give_secrets_away_and_fresh_rows_do_not():
    leaky = AttributeInference().compute(look(REAL["train"], attacks=300, secrets=("pay", "city"), **REAL))
    assert leaky.value > 0.5
    assert set(leaky.per_column) == {"pay", "city"}
    fresh = AttributeInference().compute(look(people(1000, 5), attacks=300, secrets=("pay", "city"), **REAL))
    assert fresh.ci[0] < 0.1


def test_the_target_is_the_secret_unless_others_are_named():
    assert set(AttributeInference().compute(look(people(300, 5), attacks=50, **REAL)).per_column) == {
        "outcome"
    }


def test_a_date_is_no_secret_just_because_1970_is_long_ago():
    def dated(seed):
        rng = np.random.default_rng(seed)
        days = np.datetime64("2015-01-01", "D") + rng.integers(0, 700, 500).astype("timedelta64[D]")
        return pa.table(
            {
                **{name: rng.normal(size=500) for name in "abc"},
                "birth": pa.array(days.astype(dt.date), pa.date32()),
            }
        )

    train, holdout = dated(1), dated(2)
    leaky = look(train, train=train, holdout=holdout, target=None, kinds={}, attacks=300, secrets=("birth",))
    result = AttributeInference().compute(leaky)
    assert result.value > 0.8
    assert result.aspects["baseline"].value < 0.2


def test_a_constant_number_is_guessed_by_its_share():
    def constant(seed):
        rng = np.random.default_rng(seed)
        return pa.table({"a": rng.normal(size=200), "fee": np.full(200, 5.0)})

    found = look(
        constant(3),
        train=constant(1),
        holdout=constant(2),
        target=None,
        kinds={},
        attacks=100,
        secrets=("fee",),
    )
    assert AttributeInference().compute(found).aspects["main"].value == 1.0


def test_rates_are_wilsons_and_risk_is_what_is_left_after_the_control():
    centre, half = wilson_rate(30, 100, 0.95)
    assert (centre - half, centre + half) == pytest.approx(wilson(30, 100))
    none, interval = risk(Attempts(main=30, control=30, baseline=10, number=100), 0.95)
    assert none == 0
    assert interval[0] == 0
    full, _ = risk(Attempts(main=10_000, control=0, baseline=0, number=10_000), 0.95)
    assert full > 0.99
