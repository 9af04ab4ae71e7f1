from evidence import computed, look, people
from synthmill.metrics.table.constraint_violations import ConstraintViolations

NAME = "tabular.constraint_violations"


def test_the_worst_rule_is_the_figure_and_real_rows_are_the_reference():
    evidence = look(people(500, 5), holdout=people(200, 6), constraints=("age >= 18", "hours <= age"))
    result = ConstraintViolations().compute(evidence)
    assert result.per_column["age >= 18"] == 0
    assert result.value == result.per_column["hours <= age"] > 0.2
    assert abs(result.value - result.reference) < 0.1


def test_a_missing_side_keeps_the_rule():
    fresh = people(500, 5)
    result = ConstraintViolations().compute(look(fresh, constraints=("pay > 0",)))
    assert fresh["pay"].null_count > 0
    assert result.value == 0


def test_without_rules_there_is_nothing_to_judge():
    assert computed(look(people(100, 5)), ConstraintViolations)[NAME].status == "not_applicable"
