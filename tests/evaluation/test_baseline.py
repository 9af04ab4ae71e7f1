import pytest

from synthmill.evaluation.baseline import incomparable, regressions
from synthmill.evaluation.gates import Gates
from synthmill.metrics.base import metric_classes

GAP, P, FD = (
    metric_classes()[name] for name in ("tabular.marginal_gap", "privacy.near_copy_pvalue", "image.fd")
)


def gates():
    return Gates()


def gap(value, **fields):
    return GAP.result(value=value, gate_n=1000, **fields)


def test_regressions_are_counted_in_standard_errors_and_in_the_right_direction():
    now = {GAP.name: gap(0.05, ci=(0.04, 0.06)), P.name: P.result(value=0.5)}
    before = {
        "metrics": {GAP.name: {"value": 0.02, "ci": [0.01, 0.03], "confidence": 0.95}, P.name: {"value": 0.9}}
    }
    (found,) = regressions(gates(), now, before)
    assert found.judged == pytest.approx(0.03 / (2**0.5 * 0.01 / 1.959964), rel=1e-4)
    assert (found.status, found.kind, found.severity) == ("fail", "regression", "warn")
    better = {"metrics": {GAP.name: {"value": 0.09, "ci": [0.08, 0.10]}}}
    assert regressions(gates(), now, better)[0].status == "pass"
    target = metric_classes()["overfit.dcr_share"].result(value=0.45, ci=(0.44, 0.46))
    away = {"metrics": {"overfit.dcr_share": {"value": 0.51, "ci": [0.50, 0.52]}}}
    assert regressions(gates(), {"overfit.dcr_share": target}, away)[0].status == "fail"


def test_a_figure_that_is_no_number_is_not_compared():
    before = {"metrics": {GAP.name: {"value": 0.02, "ci": [0.01, 0.03]}}}
    assert regressions(gates(), {GAP.name: gap(float("nan"), ci=(0.04, 0.06))}, before) == []


def test_distances_of_different_extractors_are_not_compared():
    now = {
        "image.fd": (
            FD.result(value=0.3, ci=(0.29, 0.31)).model_copy(
                update={"metric": "image.fd@classifier-aaaaaaaa"}
            )
        )
    }
    same, other = (
        {"metrics": {"image.fd": {"metric": f"image.fd@{extractor}", "value": 0.01, "ci": [0.009, 0.011]}}}
        for extractor in ("classifier-aaaaaaaa", "random-bbbbbbbb")
    )
    assert [found.status for found in regressions(gates(), now, same)] == ["fail"]
    assert incomparable(now, same) == []
    assert regressions(gates(), now, other) == []
    assert incomparable(now, other) == [
        "not compared with the baseline, which measured differently (image.fd@random-bbbbbbbb, here"
        " image.fd@classifier-aaaaaaaa): image.fd"
    ]
