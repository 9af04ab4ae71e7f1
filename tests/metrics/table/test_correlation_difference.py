import numpy as np
import pytest

from evidence import look, people, shuffled_columns
from oracle_values import tables, values
from synthmill.metrics.lib.association import correlation_ratio, cramers_v_plain, spearman
from synthmill.metrics.lib.columns import floats, texts
from synthmill.metrics.table.correlation_difference import CorrelationDifference


def test_lost_dependence_is_named():
    result = CorrelationDifference().compute(look(shuffled_columns(people(2000, 5)), holdout=people(1000, 6)))
    assert result.value > 0.3
    assert result.ci[0] > result.reference
    assert max(result.per_column, key=result.per_column.get) in {
        "age|pay",
        "age|outcome",
        "city|smoker",
        "smoker|outcome",
    }


def test_real_rows_differ_by_chance_only():
    result = CorrelationDifference().compute(look(people(2000, 5), holdout=people(2000, 6)))
    assert result.value < 0.12
    assert result.ci[0] < result.value < result.ci[1]


def test_strengths_agree_with_scipy():
    real, oracle = tables()["real"], values()["scipy"]
    assert spearman(floats(real["age"]), floats(real["pay"])) == pytest.approx(oracle["spearman"])
    city, smoker = (texts(real[name])[0] for name in ("city", "smoker"))
    keep = smoker >= 0
    assert cramers_v_plain(city[keep], smoker[keep], 4, 2) == pytest.approx(oracle["cramers_v"])


def test_the_correlation_ratio_is_1_where_groups_fix_the_rank_and_0_where_nothing_varies():
    groups = np.array([0.0, 0, 1, 1])
    assert correlation_ratio(groups, np.array([1.0, 1, 2, 2]), 2) == pytest.approx(1)
    assert correlation_ratio(groups, np.ones(4), 2) == 0
