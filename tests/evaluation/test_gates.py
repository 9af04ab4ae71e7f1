import pytest

from synthmill.errors import NotFoundError, RecipeError
from synthmill.evaluation.gates import Defaults, Gates, judge, load_gates, verdict
from synthmill.metrics.base import Estimate, Result, metric_classes

GAP, P, LIFT = (
    metric_classes()[n] for n in ("tabular.marginal_gap", "privacy.near_copy_pvalue", "utility.lift_dataset")
)


def gates(*items, **defaults):
    return Gates.model_validate({"defaults": defaults, "gates": list(items)})


def outcome(gate, result, **defaults):
    (found,) = judge(gates(gate, **defaults), {} if result is None else {result.metric: result})
    return found


def gap(value, **fields):
    return GAP.result(**{"value": value, "gate_n": 1000, **fields})


def test_limits_are_inclusive_and_both_can_be_set():
    gate = {"metric": GAP.name, "must_be_at_most": 0.1}
    assert outcome(gate, gap(0.1)).status == "pass"
    assert outcome(gate, gap(0.1001)).status == "fail"
    low, high = judge(
        gates({"metric": GAP.name, "must_be_at_most": 0.2, "must_be_at_least": 0.1}), {GAP.name: gap(0.05)}
    )
    assert (low.status, high.status) == ("pass", "fail")


def test_aspects_bounds_and_the_reference_can_be_judged():
    result = gap(
        0.01,
        ci=(0.0, 0.04),
        reference=0.005,
        aspects={"worst_decile": Estimate(value=0.5, ci=(0.4, 0.6), reference=0.1)},
    )
    assert (
        outcome({"metric": GAP.name, "aggregate": "worst_decile", "must_be_at_most": 0.1}, result).judged
        == 0.5
    )
    assert outcome({"metric": GAP.name, "bound": "upper", "must_be_at_most": 0.03}, result).status == "fail"
    assert outcome({"metric": GAP.name, "bound": "lower", "must_be_at_most": 0.03}, result).status == "pass"
    assert outcome(
        {"metric": GAP.name, "relative_to": "reference", "must_be_at_most": 0.006}, result
    ).judged == pytest.approx(0.005)
    assert outcome({"metric": LIFT.name, "learner": "linear", "must_be_at_least": 0}, None).aspect == "linear"


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (gap(0.0, gate_n=150), "150 rows a side are too few to judge; 200 are needed"),
        (GAP.unavailable("no holdout"), "no holdout"),
        (gap(0.0), "no upper"),
        (gap(None), "no upper"),
    ],
)
def test_what_can_not_be_decided_is_inconclusive_and_never_a_pass(result, why):
    found = outcome({"metric": GAP.name, "bound": "upper", "must_be_at_most": 0.1}, result)
    assert found.status == "inconclusive"
    assert why in found.explain
    assert verdict([found], Defaults()) == "inconclusive"


def test_an_unknown_aspect_is_inconclusive():
    assert (
        outcome({"metric": GAP.name, "aggregate": "worst_decil", "must_be_at_most": 1}, gap(0.0)).status
        == "inconclusive"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("limit", ["must_be_at_most", "must_be_at_least"])
def test_a_figure_that_is_no_number_is_inconclusive(value, limit):
    found = outcome({"metric": GAP.name, limit: 0.1}, gap(value))
    assert found.status == "inconclusive"
    assert "not a finite number" in found.explain


def test_a_second_condition_without_a_number_spares_nothing():
    gate = {"metric": P.name, "must_be_at_least": 0.001, "only_if": {"aggregate": "ratio", "above": 1.5}}
    assert (
        outcome(
            gate, P.result(value=1e-6, gate_n=1000, aspects={"ratio": Estimate(value=float("nan"))})
        ).status
        == "fail"
    )


def test_what_was_not_run_or_does_not_apply_does_not_count():
    assert outcome({"metric": GAP.name, "must_be_at_most": 0.1}, None).status == "not_run"
    nothing = outcome({"metric": GAP.name, "must_be_at_most": 0.1}, GAP.not_applicable("no target"))
    assert nothing.status == "not_applicable"


def test_a_second_condition_can_spare_a_gate():
    gate = {"metric": P.name, "must_be_at_least": 0.001, "only_if": {"aggregate": "ratio", "above": 1.5}}

    def p(ratio):
        return P.result(value=1e-6, gate_n=1000, aspects={"ratio": Estimate(value=ratio)} if ratio else {})

    assert outcome(gate, p(2.0)).status == "fail"
    assert outcome(gate, p(1.2)).status == "pass"
    assert outcome(gate, p(None)).status == "fail"


def test_the_verdict_is_the_worst_outcome():
    error = {"metric": GAP.name, "must_be_at_most": 0.1}
    warn = {"metric": GAP.name, "must_be_at_most": 0.05, "severity": "warn"}
    info = {"metric": GAP.name, "must_be_at_most": 0.0, "severity": "info"}

    def decide(value, n=1000, **defaults):
        chosen = gates(error, warn, info, **defaults)
        return verdict(judge(chosen, {GAP.name: gap(value, gate_n=n)}), chosen.defaults)

    assert [decide(v) for v in (0.01, 0.07, 0.2)] == ["pass", "warn", "fail"]
    assert decide(0.01, n=10) == "inconclusive"
    assert decide(0.01, n=10, on_inconclusive="fail") == "fail"
    assert decide(0.01, n=10, on_inconclusive="ignore") == "inconclusive"


def test_no_gate_judged_is_no_pass():
    assert verdict([], Defaults()) == "inconclusive"
    only_warn = judge(
        gates({"metric": GAP.name, "must_be_at_most": 0.1, "severity": "warn"}), {GAP.name: gap(0.0)}
    )
    assert verdict(only_warn, Defaults()) == "inconclusive"


def test_the_shipped_gates_name_metrics_and_aspects_that_exist():
    shipped = load_gates()
    assert len({g.id for g in shipped.gates}) == len(shipped.gates)
    mia = [g for g in shipped.gates if g.metric == "privacy.mia_tpr@1fpr"]
    assert {g.minimum_n for g in mia} == {700}
    assert all(
        g.severity != "error"
        for g in shipped.gates
        if g.metric in ("fidelity.c2st_auc", "utility.lift_lowdata", "overfit.dcr_share")
    )


def test_gates_files_are_checked(tmp_path):
    path = tmp_path / "gates.yaml"

    def refused(text, kind=RecipeError):
        path.write_text(text)
        with pytest.raises(kind) as caught:
            load_gates(str(path))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "tabular.marginal_gap" in refused("gates: [{metric: tabular.marginal_gaps, must_be_at_most: 1}]")
    assert "must_be_at_most" in refused("gates: [{metric: tabular.marginal_gap}]")
    assert "severty" in refused("gates: [{metric: tabular.marginal_gap, must_be_at_most: 1, severty: warn}]")
    assert "YAML" in refused("gates: [")
    assert "mapping" in refused("- 1")
    with pytest.raises(NotFoundError, match="no gates file"):
        load_gates(str(tmp_path / "none.yaml"))


def test_a_result_keeps_its_shape():
    assert Result.model_validate(gap(0.1).model_dump()) == gap(0.1)
