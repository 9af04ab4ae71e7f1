import numpy as np
import pytest

from evidence import look, people, replaced, shuffled_columns
from synthmill.metrics.lib.baselines import balanced_weights, duplicated, interpolated, shuffled_marginals
from synthmill.metrics.lib.learners import labelled
from synthmill.metrics.lib.utility import combine
from synthmill.metrics.table.lift_dataset import LiftDataset

REAL = {"train": people(300, 1), "holdout": people(800, 6)}


def test_more_rows_of_the_truth_help_and_noise_harms():
    good = LiftDataset().compute(look(people(300, 5), learner_seeds=2, **REAL))
    assert good.value > -0.005
    assert good.aspects["harm_bound"].value > 0
    bad = LiftDataset().compute(look(shuffled_columns(people(300, 5)), learner_seeds=2, **REAL))
    assert bad.value < good.value
    assert bad.aspects["harm_bound"].value < good.aspects["harm_bound"].value


def test_baselines_and_learners_are_reported():
    result = LiftDataset().compute(look(people(300, 5), validation=people(300, 7), **REAL))
    arms = {
        "synthetic",
        "duplicated rows",
        "class weights",
        "interpolation",
        "shuffled marginals",
        "more real rows",
    }
    for record in result.details["learners"].values():
        assert set(record["lifts"]) == arms
        assert set(record["scores"]) == arms | {"nothing"}
        assert 0 <= record["harm_p_holm"] <= 1
    assert set(result.details["learners"]) == {"gradient_boosting", "linear"}
    assert result.reference is not None
    assert "learner seeds and test rows" in result.details["variance"]


def test_the_learner_is_chosen_on_validation_rows_whatever_the_holdout_says():
    confused = people(800, 6)
    for seed in range(3):
        validation = people(300, 7 + seed)
        result = LiftDataset().compute(
            look(people(300, 5), train=people(300, 1), validation=validation, holdout=confused)
        )
        other = LiftDataset().compute(
            look(
                people(300, 5),
                train=people(300, 1),
                validation=validation,
                holdout=shuffled_columns(confused),
            )
        )
        assert result.details["best_learner"] == other.details["best_learner"]
    assert "on validation rows" in result.method
    assert "on holdout rows" in LiftDataset().compute(look(people(300, 5), **REAL)).method


def test_a_constant_number_can_not_be_scored():
    flat = replaced(people(200, 7), "pay", [1000.0] * 200)
    assert (
        LiftDataset().compute(look(people(300, 5), train=people(300, 1), holdout=flat, target="pay")).status
        == "unavailable"
    )
    chosen = LiftDataset().compute(look(people(300, 5), validation=flat, target="pay", **REAL))
    assert "on holdout rows" in chosen.method


def test_class_weights_need_classes():
    result = LiftDataset().compute(look(people(300, 5), target="pay", **REAL))
    assert "class weights" not in result.details["learners"]["linear"]["lifts"]


def test_not_more_synthetic_than_training_rows_are_added():
    assert LiftDataset().compute(look(people(1000, 5), **REAL)).n["synthetic"] == 300


@pytest.fixture(scope="module")
def train():
    evidence = look(people(100, 5), **REAL)
    return evidence.real.features, labelled(evidence.real.features, evidence.real.train)


def test_duplicates_are_training_rows_and_shuffled_ones_mostly_not(train):
    _, rows = train
    known = {tuple(np.nan_to_num(r, nan=-1)) for r in rows.x}
    copies = duplicated(rows, 50, np.random.default_rng(0))
    assert all(tuple(np.nan_to_num(r, nan=-1)) in known for r in copies.x)
    mixed = shuffled_marginals(rows, 200, np.random.default_rng(0))
    assert sum(tuple(np.nan_to_num(r, nan=-1)) in known for r in mixed.x) < 10
    assert set(mixed.x[:, 0]) <= set(rows.x[:, 0])


def test_interpolated_rows_lie_between_neighbours_of_one_class(train):
    features, rows = train
    made = interpolated(rows, 300, np.random.default_rng(0), features)
    for j in range(made.x.shape[1]):
        present = made.x[:, j][~np.isnan(made.x[:, j])]
        assert present.min() >= np.nanmin(rows.x[:, j])
        assert present.max() <= np.nanmax(rows.x[:, j])
        if features.categorical[j]:
            assert set(present) <= set(rows.x[:, j])
    assert abs(made.y.mean() - rows.y.mean()) < 0.1


def test_weights_balance_classes(train):
    _, rows = train
    weights = balanced_weights(rows)
    totals = [weights[rows.y == c].sum() for c in np.unique(rows.y)]
    assert totals[0] == pytest.approx(totals[1])


def test_the_bootstrap_holds_the_variance_of_few_seeds():
    rng = np.random.default_rng(0)
    spread = []
    for _ in range(200):
        seeds = rng.normal(size=(3, 1))
        table = np.repeat(seeds, 401, axis=1)
        spread.append(combine(table, rng.integers(1 << 30, size=(400, 3)))[1:].var())
    assert np.mean(spread) == pytest.approx(1 / 3, rel=0.15)
