"""What a configuration is worth: figures of samples against validation rows, which stand where evaluation has
the holdout. The holdout itself stays closed until the search is over.

The compound objective is the mean of the terms that the kind of data declares (`evaluation/evidence/`), each
between 0 and 1; any metrics of the catalogue can stand in its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from synthmill.config import Recipe
from synthmill.data.codecs.base import Codec
from synthmill.data.split import SplitTables
from synthmill.errors import DataError, RecipeError, TrainingError, did_you_mean
from synthmill.evaluation.evaluate import compute
from synthmill.evaluation.evidence.base import Request, Term, evidence_door
from synthmill.evaluation.gates import load_gates
from synthmill.evaluation.tables import Tables
from synthmill.metrics.base import Metric, Result, metric_classes
from synthmill.tune_config import COMPOUND

FIELD = "tune.objective"
WON_BY_MARGINALS = (
    "tabular.column_shapes",
    "tabular.column_pair_trends",
    "tabular.marginal_gap",
    "tabular.missing_rate_diff",
    "tabular.category_coverage",
    "tabular.boundary_adherence",
)
"""Columns drawn independently score as well as any model, so that nothing could be learnt from them."""


@dataclass(frozen=True)
class Goal:
    """What is optimised: the terms of one number each, by name, and the limits."""

    objectives: tuple[str, ...]
    """`compound`, or metrics."""
    terms: Mapping[str, Term]
    limits: Mapping[str, Term]

    @property
    def metrics(self) -> list[str]:
        """Names of every metric that must be computed, each once."""
        return list(dict.fromkeys(term.metric for term in [*self.terms.values(), *self.limits.values()]))


def make_goal(recipe: Recipe) -> Goal:
    """The goal of a resolved recipe.

    Raises:
        RecipeError: no such metric, one that says nothing, or one that needs what there is not.
    """
    door, config = evidence_door(recipe.data.kind), recipe.tune
    named = (config.objective,) if isinstance(config.objective, str) else config.objective
    limits = dict(door.limits) if config.constraints == "privacy" else {}
    if not named:
        raise RecipeError("names no objective", field=FIELD)
    if named == (COMPOUND,):
        if not door.objective:
            raise RecipeError(
                f"data of kind {recipe.data.kind!r} has no compound objective; name metrics", field=FIELD
            )
        return Goal(named, door.objective, limits)
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None or COMPOUND in named:
        fix = (
            f"names {twice!r} twice" if twice else f"{COMPOUND!r} stands alone: it is several metrics already"
        )
        raise RecipeError(fix, field=FIELD)
    terms = {name: _named(name, recipe) for name in named}
    if all(metric_classes(recipe.data.kind)[name].axis in ("privacy", "overfit") for name in named):
        raise RecipeError(
            "privacy alone is best served by noise; name an objective of fidelity or utility too", field=FIELD
        )
    return Goal(named, terms, limits)


def _named(name: str, recipe: Recipe) -> Term:
    known = metric_classes(recipe.data.kind)
    if name not in known:
        raise RecipeError(f"no metric named {name!r}{did_you_mean(name, [COMPOUND, *known])}", field=FIELD)
    metric = known[name]
    if name in WON_BY_MARGINALS or metric.axis == "schema":
        raise RecipeError(f"{name} is won by columns drawn independently; name another metric", field=FIELD)
    if "target" in metric.needs and recipe.data.target is None:
        raise RecipeError(f"{name} needs a target column; set data.target", field=FIELD)
    beyond = sorted({"retrain", "constraints", "requested"} & set(metric.needs))
    if beyond:
        raise RecipeError(f"{name} can't be computed for each trial: it needs {beyond[0]}", field=FIELD)
    return Term(name, lambda found: _higher(metric, found))


def _higher(metric: type[Metric[Any]], found: Result) -> float | None:
    """A figure turned so that higher is better."""
    if found.value is None:
        return None
    if metric.goal == "target":
        return -abs(found.value - (metric.target or 0.0))
    return found.value if metric.goal == "maximize" else -found.value


@dataclass(frozen=True)
class Verdict:
    """What one sample is worth."""

    values: tuple[float, ...]
    violations: dict[str, float]
    figures: dict[str, float]


class Scorer:
    """Scores samples against one source. Making it costs reading the real rows once."""

    def __init__(
        self, recipe: Recipe, tables: SplitTables, codec: Codec, *, missing: Sequence[str] = ()
    ) -> None:
        """`missing`: terms that this source can't give, which the mean leaves out for every trial alike.

        Raises:
            DataError: no validation rows.
        """
        if not tables.validation.num_rows:
            raise DataError(
                "is 0, and tuning scores against validation rows; set it above 0",
                field="data.split.validation",
            )
        door = evidence_door(recipe.data.kind)
        request = Request(
            target=recipe.data.target,
            profile="quick",
            # Not the trial's: two trials differ by what they generate alone.
            seed=recipe.tune.seed,
            sample_rows=recipe.tune.sample_rows,
            gates=load_gates(shipped=door.gates_file()),
        )
        self.goal = make_goal(recipe)
        self._missing = frozenset(missing)
        real = Tables(
            tables.train, None, tables.validation, tables.train, codec=codec, group=tables.split.group
        )
        self._gather = door.against(real, request)
        known = metric_classes(recipe.data.kind)
        self._metrics = [known[name] for name in self.goal.metrics]
        self._confidence = request.gates.defaults.confidence

    def __call__(self, synthetic: pa.Table) -> Verdict:
        """Raises TrainingError where a named metric has no value for these rows."""
        results = compute(self._gather(synthetic), self._metrics, self._confidence)
        terms = {name: self._value(term, results) for name, term in self.goal.terms.items()}
        violations = {name: self._value(term, results) for name, term in self.goal.limits.items()}
        figures = {name: value for name, value in terms.items() if value is not None}
        if self.goal.objectives == (COMPOUND,):
            # What the source can give and these rows can't (a class that is missing) is worth nothing.
            counted = {name: value or 0.0 for name, value in terms.items() if name not in self._missing}
            values: tuple[float, ...] = (sum(counted.values()) / max(1, len(counted)),)
        else:
            lacking = [name for name, value in terms.items() if value is None]
            if lacking:
                reason = results[lacking[0]].reason or "it has no value"
                raise TrainingError(f"{lacking[0]}: {reason}")
            values = tuple(figures[name] for name in self.goal.objectives)
        return Verdict(values, {name: v for name, v in violations.items() if v is not None}, figures)

    def lacking(self, rows: pa.Table) -> list[str]:
        """Terms that not even real rows have a value for."""
        found = compute(self._gather(rows), self._metrics, self._confidence)
        return [name for name, term in self.goal.terms.items() if self._value(term, found) is None]

    @staticmethod
    def _value(term: Term, results: Mapping[str, Result]) -> float | None:
        found = results[term.metric]
        return None if found.status != "ok" else term.worth(found)
