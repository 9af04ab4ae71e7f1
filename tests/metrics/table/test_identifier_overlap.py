import numpy as np
import pyarrow as pa

from evidence import KINDS, computed, look, people, replaced
from synthmill.evaluation.gates import judge, load_gates
from synthmill.metrics.table.identifier_overlap import IdentifierOverlap

NAME = IdentifierOverlap.name


def outcome(result) -> str:
    return next(g.status for g in judge(load_gates(), {NAME: result}) if g.metric == NAME)


def test_new_identifiers_pass():
    result = computed(look(people(500, 5), holdout=people(400, 6)), IdentifierOverlap)[NAME]
    assert (result.value, result.reference, outcome(result)) == (0.0, 0.0, "pass")


def test_one_real_identifier_of_any_side_fails_and_its_column_is_named():
    train, validation, holdout = people(300, 1), people(200, 2), people(200, 3)
    for real in (train, validation, holdout):
        codes = people(500, 5)["code"].to_pylist()
        codes[7] = real["code"][0].as_py()
        evidence = look(
            replaced(people(500, 5), "code", codes), train=train, validation=validation, holdout=holdout
        )
        result = computed(evidence, IdentifierOverlap)[NAME]
        assert result.value == 1 / 500
        assert result.per_column == {"code": 1 / 500}
        assert outcome(result) == "fail"


def test_keys_that_repeat_in_real_rows_may_repeat():
    rng = np.random.default_rng(0)

    def orders(rows, customers):
        return pa.table({"customer": rng.integers(0, customers, rows), "paid": rng.normal(size=rows)})

    kinds = {"customer": "identifier"}
    sides = {"train": orders(800, 200), "holdout": orders(400, 200), "target": None, "kinds": kinds}
    result = computed(look(orders(500, 200), **sides), IdentifierOverlap)[NAME]
    assert result.value > 0.9
    assert result.details["repeating"] == ["customer"]
    assert outcome(result) == "pass"
    sides["holdout"] = pa.table({"customer": np.arange(1000, 1400), "paid": rng.normal(size=400)})
    assert outcome(computed(look(orders(500, 200), **sides), IdentifierOverlap)[NAME]) == "fail"


def test_without_identifiers_there_is_nothing_to_judge():
    plain = {name: kind for name, kind in KINDS.items() if name != "code"}
    result = computed(look(people(100, 5), kinds={**plain, "code": "categorical"}), IdentifierOverlap)[NAME]
    assert result.status == "not_applicable"
