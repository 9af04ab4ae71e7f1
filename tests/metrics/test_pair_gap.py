from evidence import look, people, shuffled_columns
from synthmill.metrics.marginal_gap import MarginalGap
from synthmill.metrics.pair_gap import PairGap


def test_lost_dependence_shows_in_pairs_and_not_in_columns():
    evidence = look(shuffled_columns(people(3000, 5)), train=people(3000, 1), holdout=people(2000, 6))
    assert abs(MarginalGap().compute(evidence).value) < 0.01
    result = PairGap().compute(evidence)
    worst = result.aspects["worst_decile"]
    assert worst.value > 0.05
    assert worst.ci[0] > worst.reference + 0.02
    assert "city|smoker" in result.details["top_pairs"]


def test_real_rows_have_no_gap():
    result = PairGap().compute(look(people(3000, 5), train=people(3000, 1), holdout=people(2000, 6)))
    assert result.aspects["worst_decile"].value < 0.03
    assert result.ci[0] < result.value < result.ci[1]
    assert len(result.per_column) == 21


def test_a_single_column_has_no_pairs():
    one = people(50, 1).select(["city"])
    assert PairGap().compute(look(one, train=one, target=None)).status == "not_applicable"
