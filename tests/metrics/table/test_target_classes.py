import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evidence import computed, look, people
from synthmill.evaluation.gates import judge, load_gates
from synthmill.metrics.table.target_classes import TargetClasses

NAME = TargetClasses.name


def test_all_classes_of_real_rows_occur():
    result = computed(look(people(600, 5), holdout=people(500, 6)), TargetClasses)[NAME]
    assert (result.value, result.reference) == (1.0, 1.0)


def test_a_missing_class_fails_and_is_named():
    fresh = people(600, 5)
    result = computed(look(fresh.filter(pc.equal(fresh["outcome"], "ill"))), TargetClasses)[NAME]
    assert result.value == 0.5
    assert result.details["missing"] == ["well"]
    assert [g.status for g in judge(load_gates(), {NAME: result}) if g.metric == NAME] == ["fail"]


def test_classes_that_are_numbers_count_and_rare_ones_do_not():
    rng = np.random.default_rng(0)

    def rows(count, classes):
        shares = np.array([0.6, 0.3, 0.095, 0.005])[:classes]
        return pa.table(
            {"x": rng.normal(size=count), "y": rng.choice(classes, count, p=shares / shares.sum())}
        )

    kinds = {"x": "numeric", "y": "integer"}
    real = {"train": rows(1000, 4), "target": "y", "kinds": kinds}
    assert computed(look(rows(1000, 3), **real), TargetClasses)[NAME].value == 1.0
    result = computed(look(rows(1000, 2), **real), TargetClasses)[NAME]
    assert result.details["missing"] == ["2"]


def test_a_number_has_no_classes():
    assert computed(look(people(300, 5), target="pay"), TargetClasses)[NAME].status == "not_applicable"
