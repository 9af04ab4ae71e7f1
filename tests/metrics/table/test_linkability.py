from evidence import look, people
from synthmill.metrics.table.linkability import Linkability

REAL = {"train": people(1000, 1), "holdout": people(1000, 6)}


def test_copies_link_and_fresh_rows_do_not():
    leaky = Linkability().compute(look(REAL["train"], attacks=300, **REAL))
    assert leaky.value > 0.5
    assert leaky.details["stronger_than_guessing"]
    fresh = Linkability().compute(look(people(1000, 5), attacks=300, **REAL))
    assert fresh.value < 0.05


def test_one_column_can_not_be_split():
    one = people(100, 1).select(["city"])
    assert Linkability().compute(look(one, train=one, holdout=one, target=None)).status == "unavailable"
