import numpy as np

from evidence import look, people, replaced, shuffled_columns
from synthmill.metrics.table.c2st import ClassifierTest


def test_real_rows_are_not_told_apart():
    result = ClassifierTest().compute(look(people(800, 5), holdout=people(600, 6)))
    assert 0.45 < result.value < 0.55
    assert 0.43 < result.reference < 0.57
    assert result.ci[0] < result.value < result.ci[1]


def test_the_column_that_gives_it_away_comes_first():
    fresh = people(800, 5)
    rounded = replaced(fresh, "pay", [None if v is None else round(v, -2) for v in fresh["pay"].to_pylist()])
    result = ClassifierTest().compute(look(rounded, holdout=people(600, 6)))
    assert result.value > 0.6
    assert max(result.per_column, key=result.per_column.get) == "pay"
    assert 0 < result.aspects["pmse"].value < 0.25


def test_lost_dependence_is_told_apart():
    assert (
        ClassifierTest().compute(look(shuffled_columns(people(800, 5)), holdout=people(600, 6))).value > 0.6
    )


def test_too_few_rows():
    assert ClassifierTest().compute(look(people(20, 5))).status == "unavailable"


def test_folds_can_run_anywhere():
    evidence = look(people(400, 5), holdout=people(300, 6))
    here = ClassifierTest().compute(evidence)
    evidence.map_tasks = lambda function, items: [function(item) for item in reversed(items)][::-1]
    there = ClassifierTest().compute(evidence)
    assert np.isclose(here.value, there.value, atol=0)
