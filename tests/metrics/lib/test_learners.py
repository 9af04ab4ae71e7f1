import numpy as np
import pytest

from evidence import look, people
from synthmill.metrics.lib.learners import LEARNERS, Fit, fit_predict, labelled, scores, task_of


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learner_beats_chance_and_repeats_itself(learner):
    evidence = look(people(300, 2), train=people(600, 1), holdout=people(400, 3))
    features = evidence.real.features
    train, test = labelled(features, evidence.real.train), labelled(features, evidence.real.holdout)
    job = Fit(learner, features, train.x, train.y, test.x, 0)
    first = fit_predict(job)
    assert scores("binary", test.y, first, np.ones((1, len(test))))[0] > 0.75
    np.testing.assert_array_equal(first, fit_predict(job))


@pytest.mark.parametrize("learner", LEARNERS)
def test_regression_of_a_number(learner):
    evidence = look(people(300, 2), train=people(800, 1), holdout=people(400, 3), target="pay")
    features = evidence.real.features
    assert features.task == "regression"
    train, test = labelled(features, evidence.real.train), labelled(features, evidence.real.holdout)
    predicted = fit_predict(Fit(learner, features, train.x, train.y, test.x, 0))
    assert scores("regression", test.y, predicted, np.ones((1, len(test))))[0] > 0.03


def test_a_missing_class_is_scored_as_a_guess():
    evidence = look(people(300, 2), train=people(600, 1), holdout=people(300, 3), target="city")
    features = evidence.real.features
    assert (features.task, len(features.classes)) == ("multiclass", 5)
    train, test = labelled(features, evidence.real.train), labelled(features, evidence.real.holdout)
    keep = train.y != 4
    predicted = fit_predict(Fit("gradient_boosting", features, train.x[keep], train.y[keep], test.x, 0))
    assert (predicted[:, 4] == 0).all()
    single = fit_predict(Fit("linear", features, train.x[:9], np.zeros(9, dtype=int), test.x, 0))
    assert scores("multiclass", test.y, single, np.ones((1, len(test))))[0] == pytest.approx(0.5)


def test_tasks():
    table = people(200, 1)
    columns = {c.name: c for c in look(table).real.columns}
    assert task_of(columns["outcome"], table) == "binary"
    assert task_of(columns["smoker"], table) == "binary"
    assert task_of(columns["city"], table) == "multiclass"
    assert task_of(columns["pay"], table) == "regression"


def test_rows_without_a_known_target_are_dropped():
    evidence = look(people(300, 2), target="smoker")
    rows = labelled(evidence.real.features, evidence.real.train)
    assert len(rows) == evidence.real.train.num_rows - evidence.real.train["smoker"].null_count
