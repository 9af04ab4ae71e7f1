import numpy as np

from evidence import look, people
from synthmill.metrics.table.singling_out import Predicate, SinglingOut

REAL = {"train": people(1500, 1), "holdout": people(1500, 6)}


def test_copies_single_people_out_and_fresh_rows_do_not():
    leaky = SinglingOut().compute(look(REAL["train"], attacks=200, **REAL))
    assert leaky.value > 0.2
    assert leaky.ci[0] > 0.1
    fresh = SinglingOut().compute(look(people(1500, 5), attacks=200, **REAL))
    assert fresh.ci[0] == 0
    assert fresh.value < 0.1


def test_predicates_count_rows():
    rows = np.array([[1.0, 5.0], [1.0, np.nan], [2.0, 7.0]])
    assert Predicate((0,), ("==",), (1.0,)).count(rows) == 2
    assert Predicate((0, 1), ("==", ">="), (1.0, 4.0)).count(rows) == 1
    assert Predicate((1,), ("<=",), (float("nan"),)).count(rows) == 1


def test_too_few_predicates_are_unavailable():
    assert SinglingOut().compute(look(people(10, 5), attacks=20, **REAL)).status == "unavailable"
