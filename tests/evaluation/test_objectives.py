import pytest

from evidence import KINDS, people, shuffled_columns
from synthmill.errors import DataError
from synthmill.evaluation.objectives import objectives

TRAIN, VALIDATION = people(1200, 1), people(600, 2)


@pytest.fixture(scope="module")
def score():
    return objectives(TRAIN, VALIDATION, target="outcome", kinds=KINDS)


def test_better_candidates_have_better_objectives(score):
    good, bad, copied = score(people(1200, 5)), score(shuffled_columns(people(1200, 5))), score(TRAIN)
    assert set(good) == {"fidelity_columns", "fidelity_pairs", "utility", "privacy_near_copies", "overfit"}
    assert good["utility"].value > bad["utility"].value
    assert good["fidelity_pairs"].value < bad["fidelity_pairs"].value
    assert copied["privacy_near_copies"].value > 10 > good["privacy_near_copies"].value
    assert {name: o.goal for name, o in good.items()}["utility"] == "maximize"
    assert [o.kind for o in good.values()].count("constraint") == 2


def test_the_same_candidate_has_the_same_objectives(score):
    assert score(people(500, 5)) == score(people(500, 5))


def test_what_can_not_be_given_is_left_open():
    found = objectives(TRAIN, VALIDATION, target=None, kinds=KINDS)(people(500, 5))
    assert found["utility"].value is None
    assert found["fidelity_columns"].value is not None


def test_validation_rows_are_needed():
    with pytest.raises(DataError, match=r"data\.split\.validation"):
        objectives(TRAIN, VALIDATION.slice(0, 0), target=None)
