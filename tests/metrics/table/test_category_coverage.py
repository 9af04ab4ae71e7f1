import pyarrow.compute as pc
import pytest

from evidence import look, people
from oracle_values import KINDS as ORACLE_KINDS
from oracle_values import tables, values
from synthmill.metrics.table.category_coverage import CategoryCoverage


def test_real_rows_have_every_level():
    result = CategoryCoverage().compute(look(people(500, 5), holdout=people(500, 6)))
    assert (result.value, result.reference) == (1, 1)


def test_a_dropped_class_halves_the_worst_column():
    fresh = people(1000, 5)
    result = CategoryCoverage().compute(look(fresh.filter(pc.equal(fresh["outcome"], "well"))))
    assert result.value == 0.5
    assert result.aspects["frequent"].value == 0.5
    assert result.per_column["city"] == 1


def test_levels_too_rare_to_be_expected_do_not_count():
    result = CategoryCoverage().compute(look(people(12, 5)))
    assert result.n["levels"] < 9


def test_agrees_with_sdmetrics():
    oracle = tables()
    result = CategoryCoverage().compute(
        look(oracle["fake"], train=oracle["real"], target=None, kinds=ORACLE_KINDS)
    )
    assert result.per_column == pytest.approx(values()["sdmetrics"]["category_coverage"])
