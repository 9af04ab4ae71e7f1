import pyarrow as pa

from evidence import computed, look, people, with_copies
from synthmill.metrics.table.exact_copy import ExactCopy


def test_copies_of_training_rows_are_proven():
    train = people(2000, 1)
    result = ExactCopy().compute(
        look(with_copies(people(2000, 5), train, 0.02), train=train, holdout=people(1000, 6))
    )
    assert result.details["train_rows_found"] == 40
    assert result.value == 0.02
    assert result.ci[0] > 0.01
    assert result.aspects["p_value"].value < 1e-5


def test_a_holdout_in_its_place_is_no_leak():
    holdout = people(1000, 6)
    result = ExactCopy().compute(look(holdout, holdout=holdout))
    assert result.value == -1
    assert result.aspects["p_value"].value == 1


def test_frequent_rows_of_a_discrete_table_are_nobodys():
    coins = pa.table({"a": ["x", "y"] * 300, "b": ["u"] * 600})
    result = ExactCopy().compute(look(coins, train=coins, holdout=coins.slice(0, 200), target=None, kinds={}))
    assert result.status == "unavailable"


def test_identifiers_do_not_hide_a_copy():
    train = people(500, 1)
    renamed = train.set_column(7, "code", pa.array([f"new {i}" for i in range(500)]))
    assert ExactCopy().compute(look(renamed, train=train, holdout=people(300, 6))).value == 1


def test_without_a_holdout_it_says_so():
    result = computed(look(people(100, 5)), ExactCopy)["privacy.exact_copy_excess"]
    assert result.status == "unavailable"
    assert "holdout" in result.reason
