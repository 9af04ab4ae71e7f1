"""Figures compared with an earlier report: a gate for each that got worse by more than chance explains."""

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
    outcomes = []
    limit = gates.defaults.regression_sigmas
    for name, result in results.items():
        before = baseline.get("metrics", {}).get(name)
        # Figures of different extractors have different names; their values do not compare.
        if before is None or _full_name(before, name) != result.metric:
            continue
        past, past_ci = before.get("value"), before.get("ci")
        # Without an interval on both sides nobody knows what chance explains.
        known = all(value is not None and math.isfinite(value) for value in (result.value, past))
        if not known or result.value is None or result.ci is None or past_ci is None:
            continue
        # Two runs are independent: the variances of both figures add up.
        now = _standard_error(result.ci, result.confidence)
        then = _standard_error(past_ci, before.get("confidence", 0.95))
        error = float(now**2 + then**2) ** 0.5
        worse = _badness(result, result.value) - _badness(result, float(past))
        sigmas = worse / error if error > 0 else (float("inf") if worse > 0 else 0.0)
        # JSON has no infinity.
        sigmas = min(sigmas, 1e6)
        change = f"worse by {sigmas:.2g} standard errors" if sigmas > 0 else "not worse"
        outcomes.append(
            GateResult(
                id=f"{name}:regression",
                metric=name,
                kind="regression",
                op="at most",
                threshold=limit,
                judged=sigmas,
                value=result.value,
                ci=result.ci,
                reference=float(past),
                severity=gates.defaults.regression_severity,
                status="fail" if sigmas > limit else "pass",
                n=result.gate_n,
                explain=f"{result.value:.3g}, was {past:.3g} in the baseline: {change}",
                advice=(
                    "Compare the recipes of both reports; the figure got worse by more than chance explains."
                ),
            )
        )
    return outcomes


def incomparable(results: Mapping[str, Result], baseline: Mapping[str, Any]) -> list[str]:
    """A warning with the figures that the baseline measured differently (another feature extractor)."""
    past = baseline.get("metrics", {})
    names = [name for name, r in results.items() if name in past and _full_name(past[name], name) != r.metric]
    if not names:
        return []
    now, then = results[names[0]].metric, _full_name(past[names[0]], names[0])
    listed = ", ".join(names)
    return [f"not compared with the baseline, which measured differently ({then}, here {now}): {listed}"]


def _full_name(before: Mapping[str, Any], name: str) -> str:
    return str(before.get("metric", name))


def _standard_error(ci: Sequence[float], confidence: float) -> float:
    return (ci[1] - ci[0]) / (2 * float(norm.ppf(0.5 + confidence / 2)))


def _badness(result: Result, value: float) -> float:
    if result.direction == "target":
        return abs(value - (result.target or 0.0))
    return -value if result.direction == "maximize" else value
