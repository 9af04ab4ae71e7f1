import pytest

from evidence import look, people, replaced
from oracle_values import KINDS as ORACLE_KINDS
from oracle_values import tables, values
from synthmill.metrics.table.boundary_adherence import BoundaryAdherence


def test_numbers_outside_are_counted_in_the_worst_column():
    fresh = people(400, 5)
    result = BoundaryAdherence().compute(
        look(replaced(fresh, "age", [200] * 100 + fresh["age"].to_pylist()[100:]), holdout=people(300, 6))
    )
    assert result.value == 0.75
    assert result.reference > 0.98
    assert result.per_column["joined"] > 0.98


def test_agrees_with_sdmetrics():
    oracle = tables()
    result = BoundaryAdherence().compute(
        look(oracle["fake"], train=oracle["real"], target=None, kinds=ORACLE_KINDS)
    )
    assert result.per_column == pytest.approx(values()["sdmetrics"]["boundary_adherence"])


def test_without_numbers_there_is_nothing_to_judge():
    only = people(50, 1).select(["city"])
    assert BoundaryAdherence().compute(look(only, train=only, target=None)).status == "not_applicable"
