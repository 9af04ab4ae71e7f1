import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from evidence import look, people, replaced, shuffled_columns
from synthmill.metrics.table.tstr_ratio import TstrRatio

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
    assert TstrRatio().compute(
        look(fresh.filter(pc.equal(fresh["outcome"], "ill")), **REAL)
    ).value == pytest.approx(0, abs=1e-9)


def test_a_single_class_or_no_labelled_rows_is_unavailable():
    one = replaced(people(500, 1), "outcome", ["ill"] * 500)
    assert (
        "single class" in TstrRatio().compute(look(people(500, 5), train=one, holdout=people(300, 6))).reason
    )
    none = replaced(people(500, 5), "outcome", [None] * 500)
    assert "no synthetic row" in TstrRatio().compute(look(none, **REAL)).reason
    assert (
        "holdout rows are too few" in TstrRatio().compute(look(people(500, 5), holdout=people(10, 6))).reason
    )


def test_nothing_to_learn_is_unavailable():
    train = shuffled_columns(people(1000, 1))
    result = TstrRatio().compute(look(people(500, 5), train=train, holdout=people(400, 6)))
    assert result.status == "unavailable"
    assert "chance" in result.reason


@pytest.mark.parametrize("seed", [2, 3, 5])
def test_noise_is_unavailable_though_some_draws_lack_the_rare_class(seed):
    """Two of 200 holdout rows are positive: one bootstrap draw in seven has none and no AUC."""

    def noise(rows, positive, seed):
        rng = np.random.default_rng(seed)
        label = np.where(np.isin(np.arange(rows), rng.permutation(rows)[:positive]), "yes", "no")
        return pa.table({"a": rng.normal(size=rows), "b": rng.normal(size=rows), "y": label})

    real = {"train": noise(300, 8, seed), "holdout": noise(200, 2, seed + 100)}
    result = TstrRatio().compute(look(noise(300, 8, seed + 200), target="y", kinds={}, **real))
    assert result.status == "unavailable"
    assert "chance" in result.reason


def test_a_holdout_with_one_value_of_a_number_is_unavailable():
    flat = replaced(people(500, 6), "pay", [1000.0] * 500)
    result = TstrRatio().compute(look(people(500, 5), train=people(500, 1), holdout=flat, target="pay"))
    assert (result.status, result.reason) == (
        "unavailable",
        "the holdout rows have a single value of the target",
    )
