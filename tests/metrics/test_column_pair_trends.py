import pytest

from evidence import look
from oracle_values import KINDS, tables, values
from synthmill.metrics.column_pair_trends import ColumnPairTrends


def test_agrees_with_sdmetrics():
    oracle, expected = tables(), values()["sdmetrics"]
    result = ColumnPairTrends().compute(look(oracle["fake"], train=oracle["real"], target=None, kinds=KINDS))
    assert result.per_column == pytest.approx(expected["pair"], abs=1e-9)
    assert result.value == pytest.approx(expected["column_pair_trends"], abs=1e-9)
    assert result.aspects["associated_pairs"].value == pytest.approx(expected["associated_pairs"], abs=1e-9)
    assert result.aspects["associated_pairs"].value != result.value
    assert result.per_column["age|pay"] == pytest.approx(expected["correlation"])
    assert result.per_column["city|smoker"] == pytest.approx(expected["contingency"])


def test_the_same_table_scores_1():
    real = tables()["real"]
    assert ColumnPairTrends().compute(look(real, train=real, target=None, kinds=KINDS)).value == pytest.approx(1)
