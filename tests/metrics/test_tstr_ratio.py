import pyarrow.compute as pc
import pytest

from evidence import look, people, replaced, shuffled_columns
from synthmill.metrics.tstr_ratio import TstrRatio

REAL = {"train": people(800, 1), "holdout": people(800, 6)}


def test_fresh_rows_teach_as_much_and_shuffled_ones_nothing():
    good = TstrRatio().compute(look(people(800, 5), **REAL))
    assert good.value == pytest.approx(1, abs=0.08)
    assert good.ci[0] < 1.02
    bad = TstrRatio().compute(look(shuffled_columns(people(800, 5)), **REAL))
    assert bad.value < 0.4
    assert bad.aspects["trtr"].value > 0.8


@pytest.mark.parametrize("target", ["city", "pay"])
def test_several_classes_and_numbers(target):
    result = TstrRatio().compute(look(people(800, 5), target=target, **REAL))
    assert result.value == pytest.approx(1, abs=0.5)
    assert ("R2" in result.method) == (target == "pay")


def test_a_dropped_class_is_worth_nothing():
    fresh = people(800, 5)
    assert TstrRatio().compute(look(fresh.filter(pc.equal(fresh["outcome"], "ill")), **REAL)).value == pytest.approx(0, abs=1e-9)


def test_a_single_class_or_no_labelled_rows_is_unavailable():
    one = replaced(people(500, 1), "outcome", ["ill"] * 500)
    assert "single class" in TstrRatio().compute(look(people(500, 5), train=one, holdout=people(300, 6))).reason
    none = replaced(people(500, 5), "outcome", [None] * 500)
    assert "no synthetic row" in TstrRatio().compute(look(none, **REAL)).reason
    assert "holdout rows are too few" in TstrRatio().compute(look(people(500, 5), holdout=people(10, 6))).reason


def test_nothing_to_learn_is_unavailable():
    train = shuffled_columns(people(1000, 1))
    result = TstrRatio().compute(look(people(500, 5), train=train, holdout=people(400, 6)))
    assert result.status == "unavailable"
    assert "chance" in result.reason
