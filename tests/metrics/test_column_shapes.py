import pytest

from evidence import look
from oracle_values import KINDS, tables, values
from synthmill.metrics.column_shapes import ColumnShapes


def test_agrees_with_sdmetrics():
    oracle, expected = tables(), values()["sdmetrics"]
    result = ColumnShapes().compute(look(oracle["fake"], train=oracle["real"], target=None, kinds=KINDS))
    assert result.value == pytest.approx(expected["column_shapes"], abs=1e-9)
    assert result.per_column == pytest.approx(expected["shape"], abs=1e-9)
    assert result.per_column == pytest.approx({**expected["ks"], **expected["tv"]}, abs=1e-9)


def test_the_same_table_scores_1():
    real = tables()["real"]
    assert ColumnShapes().compute(look(real, train=real, target=None, kinds=KINDS)).value == 1
