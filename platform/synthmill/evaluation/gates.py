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
Op = Literal["at most", "at least"]


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
    """The same, for metrics with a figure by learner (`best`, `any`, `linear`, ...)."""
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
        # Severity included: a metric often has a warning below its error.
        parts = (self.metric, self.aspect, None if self.bound == "value" else self.bound, self.severity)
        return ":".join(part for part in parts if part)


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
    op: Op
    threshold: float
    judged: float | None = None
    """The number that is compared with the threshold."""
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
    # A misspelt metric would otherwise be a gate that never runs.
    known = metric_classes()
    for gate in gates.gates:
        if gate.metric not in known:
            raise RecipeError(
                f"no metric named {gate.metric!r}{did_you_mean(gate.metric, known)}", field="gates.metric"
            )
    return gates


def judge(gates: Gates, results: Mapping[str, Result]) -> list[GateResult]:
    """Every gate's outcome, one for each limit, from the results by metric name."""
    outcomes = []
    for gate in gates.gates:
        limits: tuple[tuple[Op, float | None], ...] = (
            ("at most", gate.must_be_at_most),
            ("at least", gate.must_be_at_least),
        )
        for op, threshold in limits:
            if threshold is not None:
                result = results.get(gate.metric)
                outcomes.append(_judge_limit(gate, gates.defaults, result, op, threshold))
    return outcomes


def _judge_limit(
    gate: Gate, defaults: Defaults, result: Result | None, op: Op, threshold: float
) -> GateResult:
    minimum = defaults.min_rows if gate.minimum_n is None else gate.minimum_n
    estimate = Estimate()
    if result is not None and result.status == "ok":
        estimate = _aspect(result, gate.aspect)
    judged = estimate.value
    if gate.bound != "value":
        judged = None if estimate.ci is None else estimate.ci[0 if gate.bound == "lower" else 1]
    if judged is not None and gate.relative_to == "reference":
        judged = None if estimate.reference is None else judged - estimate.reference
    metric = metric_classes().get(gate.metric)
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
        advice=metric.advice if metric else "",
    )


def _aspect(result: Result, name: str | None) -> Estimate:
    return result if name is None else result.aspects.get(name, Estimate())


def _status(
    gate: Gate, result: Result | None, judged: float | None, op: str, threshold: float, minimum: int
) -> tuple[Status, str]:
    if result is None:
        return "not_run", "this profile does not compute the metric"
    if result.status == "not_applicable":
        return "not_applicable", result.reason or "nothing to judge"
    # Fail closed: a gate that could not look has not passed.
    if result.status == "unavailable":
        return "inconclusive", result.reason or "the metric has no value"
    # Fail closed: too few rows to judge is not a pass.
    if result.gate_n < minimum:
        return "inconclusive", f"{result.gate_n:,} rows a side are too few to judge; {minimum:,} are needed"
    if judged is None:
        return "inconclusive", f"no {gate.bound} of {gate.aspect or 'the metric'} to judge"
    # NaN compares false with every threshold, which would let the gate pass.
    if not math.isfinite(judged):
        return "inconclusive", f"{_words(gate)} is {judged:g}, not a finite number"
    missed = judged > threshold if op == "at most" else judged < threshold
    shown = f"{_words(gate)} is {judged:.3g}, must be {op} {threshold:g}"
    if missed and gate.only_if is not None and not _also(gate.only_if, result):
        return "pass", f"{shown}; not counted, the second condition does not hold"
    return ("fail" if missed else "pass"), shown


def _also(condition: Also, result: Result) -> bool:
    value = _aspect(result, condition.aggregate).value
    # A second condition that can't be judged must not let a failed gate pass.
    if value is None or not math.isfinite(value):
        return True
    above = condition.above is None or value > condition.above
    return above and (condition.below is None or value < condition.below)


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
    # The value of such a metric is the p-value itself.
    aspect = "p_value" if gate.aspect is None and gate.metric.endswith("_pvalue") else gate.aspect
    what = ASPECT_WORDS.get(aspect, (aspect or "").replace("_", " "))
    end = {"value": "", "lower": "lower bound of the ", "upper": "upper bound of the "}[gate.bound]
    return f"{end}{what}" + (" less the real-vs-real figure" if gate.relative_to == "reference" else "")


def verdict(outcomes: Sequence[GateResult], defaults: Defaults) -> Verdict:
    """The worst outcome; without a single error gate that was judged it is inconclusive, never pass."""
    required = {o.status for o in outcomes if o.severity == "error"}
    undecided = "inconclusive" in required
    if "fail" in required or (undecided and defaults.on_inconclusive == "fail"):
        return "fail"
    # Fail closed: a gates file whose error gates none of this data's figures reach proves nothing.
    if (undecided and defaults.on_inconclusive == "warn") or "pass" not in required:
        return "inconclusive"
    return "warn" if any(o.status == "fail" and o.severity == "warn" for o in outcomes) else "pass"
