import numpy as np
import pytest

from evidence import computed, look, people, shuffled_columns
from synthmill.errors import DataError
from synthmill.metrics.table.lift_lowdata import LiftLowdata, stratified, t_interval

REAL = {"train": people(800, 1), "holdout": people(800, 6)}


class Oracle:
    """The best generator there could be: it knows the distribution."""

    def __init__(self):
        self.asked = []

    def __call__(self, subset, seed):
        self.asked.append((subset.num_rows, seed))
        return people(400, 1000 + seed)


def test_a_generator_that_knows_the_truth_helps_where_rows_are_few():
    oracle = Oracle()
    result = LiftLowdata().compute(
        look(
            people(100, 5),
            retrain=oracle,
            lowdata_rows=(40, 200),
            lowdata_seeds=4,
            learners=("linear",),
            **REAL,
        )
    )
    assert result.value > 0
    assert result.aspects["40 rows"].value > result.aspects["200 rows"].value
    assert sorted(oracle.asked) == sorted((n, s) for n in (40, 200) for s in range(4))
    curves = result.details["curves"]["linear"]
    assert {"synthetic", "duplicated rows", "shuffled marginals"} <= set(curves)
    assert [point["rows"] for point in curves["synthetic"]] == [40, 200]


def test_a_generator_without_dependence_does_not():
    result = LiftLowdata().compute(
        look(
            people(100, 5),
            retrain=lambda subset, seed: shuffled_columns(subset, seed),
            lowdata_rows=(200,),
            lowdata_seeds=3,
            learners=("linear",),
            **REAL,
        )
    )
    assert result.value < 0


def test_the_budget_stops_it_and_too_few_seeds_are_unavailable():
    oracle = Oracle()
    result = LiftLowdata().compute(
        look(
            people(100, 5),
            retrain=oracle,
            lowdata_rows=(40,),
            budget_seconds=0.0,
            learners=("linear",),
            **REAL,
        )
    )
    assert len(oracle.asked) == 1
    assert result.status == "unavailable"
    assert "--budget" in result.reason


def test_sizes_that_can_not_be_trained_on_are_left_out_and_named():
    def picky(subset, seed):
        if subset.num_rows < 100:
            raise DataError("40 rows are too few", field="data")
        return people(200, 1000 + seed)

    options = {"retrain": picky, "lowdata_seeds": 3, "learners": ("linear",), **REAL}
    result = LiftLowdata().compute(look(people(100, 5), lowdata_rows=(40, 200), **options))
    assert result.status == "ok"
    assert result.details["sizes"] == [200]
    assert "too few" in result.details["untrainable_sizes"]["40"]
    nothing = LiftLowdata().compute(look(people(100, 5), lowdata_rows=(40,), **options))
    assert nothing.status == "unavailable"
    assert "too few" in nothing.reason


def test_without_retraining_it_is_not_applicable():
    assert (
        computed(look(people(100, 5), **REAL), LiftLowdata)["utility.lift_lowdata"].status == "not_applicable"
    )


def test_subsets_are_stratified_and_of_the_size_asked_for():
    strata = np.array([0] * 950 + [1] * 45 + [2] * 5)
    picked = stratified(strata, 40, 0)
    assert len(picked) == len(set(picked.tolist())) == 40
    assert set(strata[picked]) == {0, 1, 2}
    assert not np.array_equal(picked, stratified(strata, 40, 1))


def test_t_interval_agrees_with_a_textbook_value():
    mean, (low, high) = t_interval(np.array([1.0, 2.0, 3.0]), 0.95)
    assert mean == 2
    assert high - mean == pytest.approx(4.302653 / np.sqrt(3), rel=1e-5)
    assert mean - low == pytest.approx(high - mean)
