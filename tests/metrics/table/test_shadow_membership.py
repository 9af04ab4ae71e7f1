import numpy as np

from evidence import look, people
from synthmill.metrics.table.shadow_membership import ShadowMembership, attack_all

REAL = {"train": people(600, 1), "holdout": people(300, 6)}


def test_a_recipe_that_copies_is_found_out_and_one_that_ignores_its_rows_is_not():
    options = {"shadow_models": 8, "shadow_rows": 300, **REAL}
    copier = ShadowMembership().compute(look(people(100, 5), retrain=lambda subset, seed: subset, **options))
    assert copier.value > 0.9
    blind = ShadowMembership().compute(
        look(people(100, 5), retrain=lambda subset, seed: people(150, 500 + seed), **options)
    )
    assert blind.value < 0.05
    assert blind.aspects["tpr@10fpr"].value < 0.2


def test_the_budget_stops_it():
    result = ShadowMembership().compute(
        look(people(100, 5), retrain=lambda subset, seed: subset, budget_seconds=0.0, shadow_rows=300, **REAL)
    )
    assert result.status == "unavailable"


def test_scores_separate_what_differs():
    rng = np.random.default_rng(0)
    seen = rng.random((10, 200)) < 0.5
    members, others = attack_all(seen, seen * 3.0 + rng.normal(size=(10, 200)))
    assert np.mean(members) > np.mean(others) + 2
