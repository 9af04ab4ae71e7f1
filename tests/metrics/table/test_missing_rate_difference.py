import pytest

from evidence import look, people, replaced
from synthmill.metrics.table.missing_rate_difference import MissingRateDifference


def test_real_rows_miss_alike():
    result = MissingRateDifference().compute(look(people(2000, 5), holdout=people(1000, 6)))
    assert result.value < 0.02
    assert result.ci[0] < 0.01
    assert result.reference < 0.02


def test_the_column_that_never_misses_is_named():
    fresh = people(2000, 5)
    filled = replaced(fresh, "pay", [1.0 if v is None else v for v in fresh["pay"].to_pylist()])
    result = MissingRateDifference().compute(look(filled))
    assert result.value == pytest.approx(0.06, abs=0.02)
    assert max(result.per_column, key=result.per_column.get) == "pay"
    assert result.ci[0] > 0.03
