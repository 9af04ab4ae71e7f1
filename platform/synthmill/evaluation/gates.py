"""Quality gates: thresholds on metrics, read from a YAML file, judged one by one, summed up in a verdict.

A gate passes, fails, or is inconclusive (too few rows, no holdout, no interval, a figure that is no number):
inconclusive is never a pass. A gate whose metric the profile does not run is `not_run`; one that has nothing
to judge (no target named) is `not_applicable`. Neither counts. The verdict is the worst of: an error gate
failed (fail), an error gate is inconclusive (inconclusive), a warn gate failed (warn), else pass.
"""

import math
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, model_validator

from synthmill.config import FrozenModel, parse_model
from synthmill.errors import NotFoundError, RecipeError, did_you_mean
from synthmill.metrics.base import Estimate, Result, metric_classes

Severity = Literal["info", "warn", "error"]
Status = Literal["pass", "fail", "inconclusive", "not_run", "not_applicable"]
Verdict = Literal["pass", "warn", "fail", "inconclusive"]


class Also(FrozenModel):
    """A second condition: the gate fails only if this holds too."""

    aggregate: str | None = None
    above: float | None = None
    below: float | None = None


class Gate(FrozenModel):
    """One threshold on one figure."""

    metric: str
    """Dotted name of a metric."""
    aggregate: str | None = Field(None, alias="aggregate")
    """An aspect of the metric (`worst_decile`, `p_value`, ...); null: its value."""
    learner: str | None = None
    """The same, for metrics that answer by learner (`best`, `any`, `linear`, ...)."""
    bound: Literal["value", "lower", "upper"] = "value"
    """Judge the value or an end of its confidence interval."""
    relative_to: Literal["nothing", "reference"] = "nothing"
    """reference: judge the difference from the real-vs-real figure."""
    must_be_at_most: float | None = None
    must_be_at_least: float | None = None
    severity: Severity = "error"
    minimum_n: int | None = Field(None, ge=0)
    """Below this many rows a side the gate is inconclusive; null: `defaults.min_rows`."""
    only_if: Also | None = None
    why: str | None = None
    """One sentence for the report: what this threshold protects against."""

    @model_validator(mode="after")
    def _one_limit(self) -> "Gate":
        if self.must_be_at_most is None and self.must_be_at_least is None:
            raise ValueError("needs must_be_at_most or must_be_at_least")
        return self

    @property
    def aspect(self) -> str | None:
        """The aspect of the metric that is judged."""
        return self.aggregate or self.learner

    @property
    def id(self) -> str:
        """A name that is unique within a sensible gates file."""
        parts = [
            self.metric,
            *([self.aspect] if self.aspect else []),
            *([self.bound] if self.bound != "value" else []),
            self.severity,
        ]
        return ":".join(parts)


class Defaults(FrozenModel):
    """What holds for every gate."""

    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Two-sided level of every interval in the report."""
    min_rows: int = Field(200, ge=0)
    on_inconclusive: Literal["ignore", "warn", "fail"] = "warn"
    """What an inconclusive error gate makes of the verdict: nothing, `inconclusive`, or `fail`."""
    regression_sigmas: float = Field(3.0, gt=0)
    """With a baseline: how many standard errors worse is a regression."""
    regression_severity: Severity = "warn"


class Gates(FrozenModel):
    """A gates file."""

    version: Literal[1] = 1
    defaults: Defaults = Defaults()
    gates: tuple[Gate, ...] = ()
    constraints: tuple[str, ...] = ()
    """Rules such as `start <= end` or `age >= 0` for `tabular.constraint_violations`."""


class GateResult(FrozenModel):
    """How one gate came out."""

    id: str
    metric: str
    aspect: str | None = None
    kind: Literal["threshold", "regression"] = "threshold"
    bound: Literal["value", "lower", "upper"] = "value"
    relative_to: Literal["nothing", "reference"] = "nothing"
    op: Literal["at most", "at least"]
    threshold: float
    judged: float | None = None
    """The number held against the threshold."""
    value: float | None = None
    ci: tuple[float, float] | None = None
    reference: float | None = None
    severity: Severity
    status: Status
    n: int | None = None
    minimum_n: int | None = None
    explain: str
    advice: str = ""


def load_gates(name_or_path: str = "default", *, shipped: Traversable | None = None) -> Gates:
    """The gates that ship with the package (`default`: the file `shipped`, None: that of tables) or a gates
    file.

    Raises:
        NotFoundError: no such file.
        RecipeError: not YAML, an unknown key, an unknown metric.
    """
    if name_or_path == "default":
        text = (shipped or resources.files("synthmill") / "evaluation" / "gates.yaml").read_text()
    elif Path(name_or_path).is_file():
        text = Path(name_or_path).read_text()
    else:
        raise NotFoundError(f"no gates file {name_or_path!r}; give a path or 'default'", field="gates")
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError:
        raise RecipeError(f"{name_or_path} is not valid YAML", field="gates") from None
    if not isinstance(raw, dict):
        raise RecipeError(f"{name_or_path} must be a mapping with a list of gates", field="gates")
    gates = parse_model(Gates, raw, prefix="gates")
    known = metric_classes()
    for gate in gates.gates:
        if gate.metric not in known:
            raise RecipeError(
                f"no metric named {gate.metric!r}{did_you_mean(gate.metric, known)}", field="gates.metric"
            )
    return gates


def judge(gates: Gates, results: Mapping[str, Result]) -> list[GateResult]:
    """Every gate held against the results (by metric name)."""
    return [
        outcome for gate in gates.gates for outcome in _judge(gate, gates.defaults, results.get(gate.metric))
    ]


def _judge(gate: Gate, defaults: Defaults, result: Result | None) -> list[GateResult]:
    limits: list[tuple[Literal["at most", "at least"], float]] = []
    if gate.must_be_at_most is not None:
        limits.append(("at most", gate.must_be_at_most))
    if gate.must_be_at_least is not None:
        limits.append(("at least", gate.must_be_at_least))
    return [_judge_limit(gate, defaults, result, op, threshold) for op, threshold in limits]


def _judge_limit(
    gate: Gate,
    defaults: Defaults,
    result: Result | None,
    op: Literal["at most", "at least"],
    threshold: float,
) -> GateResult:
    minimum = defaults.min_rows if gate.minimum_n is None else gate.minimum_n
    estimate = _estimate(gate, result)
    judged = _judged(gate, estimate)
    status, explain = _status(gate, result, judged, op, threshold, minimum)
    return GateResult(
        id=gate.id,
        metric=gate.metric,
        aspect=gate.aspect,
        bound=gate.bound,
        relative_to=gate.relative_to,
        op=op,
        threshold=threshold,
        judged=judged,
        value=estimate.value,
        ci=estimate.ci,
        reference=estimate.reference,
        severity=gate.severity,
        status=status,
        n=None if result is None else result.gate_n,
        minimum_n=minimum,
        explain=explain,
        advice=_advice(gate.metric),
    )


def _advice(metric: str) -> str:
    known = metric_classes()
    return known[metric].advice if metric in known else ""


def _estimate(gate: Gate, result: Result | None) -> Estimate:
    if result is None or result.status != "ok":
        return Estimate()
    return result if gate.aspect is None else result.aspects.get(gate.aspect, Estimate())


def _judged(gate: Gate, estimate: Estimate) -> float | None:
    value = estimate.value
    if gate.bound != "value":
        value = None if estimate.ci is None else estimate.ci[0 if gate.bound == "lower" else 1]
    if value is None or gate.relative_to == "nothing":
        return value
    return None if estimate.reference is None else value - estimate.reference


def _status(
    gate: Gate, result: Result | None, judged: float | None, op: str, threshold: float, minimum: int
) -> tuple[Status, str]:
    if result is None:
        return "not_run", "this profile does not compute the metric"
    if result.status == "not_applicable":
        return "not_applicable", result.reason or "nothing to judge"
    if result.status == "unavailable":
        return "inconclusive", result.reason or "the metric has no value"
    if result.gate_n < minimum:
        return "inconclusive", f"{result.gate_n:,} rows a side are too few to judge; {minimum:,} are needed"
    if judged is None:
        return "inconclusive", f"no {gate.bound} of {gate.aspect or 'the metric'} to judge"
    if not math.isfinite(judged):
        return "inconclusive", f"{_words(gate)} is {judged:g}, not a finite number"
    missed = judged > threshold if op == "at most" else judged < threshold
    shown = f"{_words(gate)} is {judged:.3g}, must be {op} {threshold:g}"
    if missed and gate.only_if is not None and not _also(gate.only_if, result):
        return "pass", f"{shown}; not counted, the second condition does not hold"
    return ("fail" if missed else "pass"), shown


def _also(condition: Also, result: Result) -> bool:
    estimate = result if condition.aggregate is None else result.aspects.get(condition.aggregate, Estimate())
    if estimate.value is None or not math.isfinite(estimate.value):
        return True
    above = condition.above is None or estimate.value > condition.above
    return above and (condition.below is None or estimate.value < condition.below)


ASPECT_WORDS = {
    None: "value",
    "worst_decile": "worst tenth",
    "p_value": "chance of this if nothing was copied (p)",
    "lost_share": "share of the dependence that is lost",
    "beyond_chance": "share of valid rows",
    "frequent": "share of the frequent levels that occur",
    "ratio": "ratio to the real rows",
    "harm_bound": "most optimistic reading of the lift (99.5%)",
    "excess_in_standard_errors": "distance beyond real rows, in standard errors",
}


def _words(gate: Gate) -> str:
    aspect = "p_value" if gate.aspect is None and gate.metric.endswith("_pvalue") else gate.aspect
    what = ASPECT_WORDS.get(aspect, (aspect or "").replace("_", " "))
    end = {"value": "", "lower": "lower bound of the ", "upper": "upper bound of the "}[gate.bound]
    return f"{end}{what}" + (" less the real-vs-real figure" if gate.relative_to == "reference" else "")


def verdict(outcomes: Sequence[GateResult], defaults: Defaults) -> Verdict:
    """The worst outcome; without a single error gate that was judged the verdict is inconclusive, never
    pass."""
    errors = [o for o in outcomes if o.severity == "error" and o.status in ("pass", "fail", "inconclusive")]
    open_ones = any(o.status == "inconclusive" for o in errors)
    if any(o.status == "fail" for o in errors) or (open_ones and defaults.on_inconclusive == "fail"):
        return "fail"
    if (open_ones and defaults.on_inconclusive == "warn") or not any(o.status == "pass" for o in errors):
        return "inconclusive"
    return "warn" if any(o.status == "fail" and o.severity == "warn" for o in outcomes) else "pass"
