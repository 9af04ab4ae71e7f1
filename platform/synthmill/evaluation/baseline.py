"""Figures held against an earlier report: a gate a figure that got worse by more than chance explains."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import norm

from synthmill.evaluation.gates import GateResult, Gates
from synthmill.metrics.base import Result


def regressions(gates: Gates, results: Mapping[str, Result], baseline: Mapping[str, Any]) -> list[GateResult]:
    """Figures that are worse than in an earlier report by more than `regression_sigmas` standard errors.

    Figures without a value or an interval on either side are left out, and so are those that `incomparable`
    names.
    """
    found = []
    for name, result in results.items():
        before = baseline.get("metrics", {}).get(name)
        if (
            before is None
            or _full_name(before, name) != result.metric
            or not (_known(result.value) and _known(before.get("value")))
        ):
            continue
        spread = (
            _standard_error(result.ci, result.confidence),
            _standard_error(before.get("ci"), before.get("confidence", 0.95)),
        )
        if None in spread:
            continue
        error = float(sum(s**2 for s in spread if s is not None)) ** 0.5
        worse = _worse(result, float(before["value"]))
        sigmas = worse / error if error > 0 else (float("inf") if worse > 0 else 0.0)
        limit = gates.defaults.regression_sigmas
        sigmas = min(sigmas, 1e6)
        found.append(
            GateResult(
                id=f"{name}:regression",
                metric=name,
                kind="regression",
                op="at most",
                threshold=limit,
                judged=sigmas,
                value=result.value,
                ci=result.ci,
                reference=float(before["value"]),
                severity=gates.defaults.regression_severity,
                status="fail" if sigmas > limit else "pass",
                n=result.gate_n,
                explain=f"{result.value:.3g}, was {before['value']:.3g} in the baseline: {_than(sigmas)}",
                advice=(
                    "Compare the recipes of both reports; the figure got worse by more than chance explains."
                ),
            )
        )
    return found


def incomparable(results: Mapping[str, Result], baseline: Mapping[str, Any]) -> list[str]:
    """A warning that names the figures which the baseline has by another way of measuring, such as another
    feature extractor."""
    past = baseline.get("metrics", {})
    found = [
        name
        for name, result in results.items()
        if name in past and _full_name(past[name], name) != result.metric
    ]
    if not found:
        return []
    now, then = results[found[0]].metric, _full_name(past[found[0]], found[0])
    return [
        f"not held against the baseline, which measured differently ({then}, here {now}): {', '.join(found)}"
    ]


def _full_name(before: Mapping[str, Any], name: str) -> str:
    return str(before.get("metric", name))


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _than(sigmas: float) -> str:
    return f"worse by {sigmas:.2g} standard errors" if sigmas > 0 else "not worse"


def _standard_error(ci: Sequence[float] | None, confidence: float) -> float | None:
    return None if ci is None else (ci[1] - ci[0]) / (2 * float(norm.ppf(0.5 + confidence / 2)))


def _worse(result: Result, before: float) -> float:
    assert result.value is not None
    if result.direction == "maximize":
        return before - result.value
    if result.direction == "minimize":
        return result.value - before
    target = result.target or 0.0
    return abs(result.value - target) - abs(before - target)
