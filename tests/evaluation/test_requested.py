import numpy as np
import pyarrow.compute as pc
import pytest

from evidence import KINDS, people
from synthmill.errors import DataError
from synthmill.evaluation.evaluate import evaluate
from synthmill.evaluation.evidence.base import Options
from synthmill.evaluation.tables import Tables
from synthmill.generation.shards import ShardPlan, level_quotas
from synthmill.runtime.requested import as_requested

REAL = {"train": people(3000, 1), "validation": people(600, 2), "holdout": people(1500, 3)}


def tables(synthetic):
    return Tables(**REAL, synthetic=synthetic, kinds=KINDS)


def failed(report) -> set[str]:
    return {gate.metric for gate in report.gates if gate.status == "fail" and gate.severity == "error"}


def test_real_rows_that_meet_a_condition_pass_when_they_are_compared_with_their_like():
    fresh = people(6000, 9)
    rows = fresh.filter(pc.equal(fresh["city"], "Bern"))
    plan = ShardPlan(rows=rows.num_rows, seed=0, where=("city=Bern",))
    assert "tabular.marginal_gap" in failed(evaluate(tables(rows), target="outcome", profile="quick"))
    report = evaluate(as_requested(tables(rows), plan), target="outcome", profile="quick")
    assert not failed(report)
    assert report.inputs["asked"] == "city=Bern"
    assert report.inputs["train_rows"] == pc.sum(pc.equal(REAL["train"]["city"], "Bern")).as_py()
    assert any("city=Bern" in warning for warning in report.warnings)


def test_balanced_rows_are_compared_with_balanced_rows():
    fresh = people(12000, 9)
    classes = fresh["city"].unique().to_pylist()
    balanced = np.concatenate([np.flatnonzero(pc.equal(fresh["city"], name))[:500] for name in classes])
    rows = fresh.take(np.sort(balanced))
    plan = ShardPlan(rows=2500, seed=0, balance="city", quotas=level_quotas(dict.fromkeys(classes, 0), 2500))
    compared = as_requested(tables(rows), plan)
    assert set(pc.value_counts(compared.train["city"]).field("counts").to_pylist()) == {
        min(pc.value_counts(REAL["train"]["city"]).field("counts").to_pylist())
    }
    assert "tabular.marginal_gap" in failed(evaluate(tables(rows), target="outcome", profile="quick"))
    assert not failed(evaluate(compared, target="outcome", profile="quick"))
    assert as_requested(tables(rows), plan).train.equals(compared.train)


def test_lift_is_measured_on_all_rows():
    fresh = people(3000, 9)
    rows = fresh.filter(pc.equal(fresh["outcome"], "ill"))
    plan = ShardPlan(rows=rows.num_rows, seed=0, where=("outcome=ill",))
    report = evaluate(
        as_requested(tables(rows), plan),
        target="outcome",
        profile="quick",
        options=Options(include=("utility.lift_dataset", "utility.tstr_ratio")),
    )
    assert report.metrics["utility.lift_dataset"].status == "ok"
    assert report.metrics["utility.lift_dataset"].n["train"] == 3000
    assert report.metrics["utility.tstr_ratio"].status == "unavailable"


def test_nothing_asked_changes_nothing():
    given = tables(people(10, 9))
    assert as_requested(given, ShardPlan(rows=10, seed=0)) is given


def test_a_condition_that_no_training_row_meets():
    with pytest.raises(DataError, match="no training row has age>=500"):
        as_requested(tables(people(10, 9)), ShardPlan(rows=10, seed=0, where=("age>=500",)))
