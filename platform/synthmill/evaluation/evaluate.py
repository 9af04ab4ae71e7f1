"""Evaluate a synthetic table against the real rows: one call from tables to a report. Runs without a cluster.

`map_tasks` decides where the work runs: the default is a plain loop, `runtime/` passes one that uses Ray
tasks. Statistics of every synthetic row are computed part by part and merged; everything else reads a seeded
sample of declared size.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Literal

import pyarrow as pa

from synthmill.config import fingerprint
from synthmill.errors import RecipeError, did_you_mean
from synthmill.evaluation.baseline import incomparable, regressions
from synthmill.evaluation.checks import align, check_tables
from synthmill.evaluation.constraints import parse_constraint
from synthmill.evaluation.gates import Gates, judge, load_gates, verdict
from synthmill.evaluation.plots import closest_rows, plot_data
from synthmill.evaluation.privacy import privacy_section
from synthmill.evaluation.report import Report, sentence
from synthmill.metrics._columns import columns_of
from synthmill.metrics._evidence import Evidence, Limits, Passes, Real, Settings, Totals
from synthmill.metrics._learners import LEARNERS, task_of
from synthmill.metrics._sample import SampleRows
from synthmill.metrics._view import PartView
from synthmill.metrics.base import (
    PROFILES,
    MapTasks,
    Metric,
    Part,
    Result,
    in_profile,
    map_serially,
    metric_classes,
    table_kinds,
)

Profile = Literal["quick", "standard", "full", "audit"]
PART_ROWS = 131_072
MAX_TASKS = 32
QUICK_ROWS = 10_000
THOROUGH: dict[str, Any] = {"learners": LEARNERS, "learner_seeds": 12, "baseline_seeds": 3}


@dataclass(frozen=True)
class Tables:
    """What is compared. `synthetic`: a table, a sequence of parts (see `metrics.base.Part`), or an iterator
    of tables."""

    train: pa.Table
    validation: pa.Table | None
    holdout: pa.Table | None
    synthetic: pa.Table | Sequence[Part] | Iterable[pa.Table]
    kinds: Any = field(default_factory=dict)
    """A TableProfile, or a mapping of column to kind."""
    group: str | None = None
    """Column whose equal values the split kept on one side (`data.split.group`)."""
    levels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Column -> the only categories it can have, where somebody declared them."""
    asked: str = ""
    """What the synthetic rows were asked to be, in words; the real rows here are then those that are so
    too."""
    whole: "Tables | None" = None
    """All real rows, where those above were chosen to match what was asked for: what rows are added to when
    lift is measured."""


@dataclass(frozen=True)
class SlicePart:
    """A part of a table that is in memory."""

    table: pa.Table
    first_row: int

    def load(self) -> pa.Table:
        """Its rows."""
        return self.table


def evaluate(
    tables: Tables,
    *,
    target: str | None,
    profile: Profile = "standard",
    seed: int = 0,
    sample_rows: int | Literal["all"] | None = None,
    gates: Gates | None = None,
    baseline: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    map_tasks: MapTasks | None = None,
    requested_rows: int | None = None,
    include: Sequence[str] = (),
    retrain: Callable[[pa.Table, int], pa.Table] | None = None,
    budget_seconds: float | None = None,
    secrets: Sequence[str] = (),
) -> Report:
    """Compute the profile's metrics (and those named in `include`) and hold them against the gates.

    Args:
        sample_rows: rows a side for figures that can't read everything; None: 20,000 for neighbours and
        50,000 for
            classifiers (10,000 in the quick profile); "all": every row.
        baseline: an earlier report's JSON; figures that got worse are flagged.
        requested_rows: how many rows the generator was asked for.
        retrain: (subset, seed) -> synthetic rows of a freshly trained generator, for `utility.lift_lowdata`
        and the audit. budget_seconds: wall time for those two.

    Raises:
        DataError: tables that can't be compared; the message names the table and column.
        RecipeError: an unknown profile or metric name.
    """
    started = time.monotonic()
    if profile not in PROFILES:
        raise RecipeError(f"no profile named {profile!r}{did_you_mean(profile, PROFILES)}", field="profile")
    gates = gates or load_gates()
    run = map_tasks or map_serially
    real = prepare(tables, target=target, seed=seed, constraints=gates.constraints)
    if tables.whole is not None:
        real.whole = prepare(tables.whole, target=target, seed=seed, constraints=gates.constraints)
    settings = Settings(
        seed=seed,
        limits=_limits(profile, sample_rows),
        confidence=gates.defaults.confidence,
        requested_rows=requested_rows,
        retrain=retrain,
        budget_seconds=budget_seconds,
        secrets=tuple(secrets),
        **THOROUGH if profile in ("full", "audit") else {},
    )
    totals, sample, notes = read_synthetic(tables.synthetic, real, settings, run)
    evidence = Evidence(real, totals, sample, settings, run)
    timings = {"read": time.monotonic() - started}
    results = compute(evidence, _chosen(profile, include), timings)
    outcomes = (*judge(gates, results), *(regressions(gates, results, baseline) if baseline else ()))
    decided = verdict(outcomes, gates.defaults)
    timings["total"] = time.monotonic() - started
    return Report(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=decided,
        summary=sentence(decided, outcomes, profile),
        inputs=_inputs(real, evidence, tables.asked),
        config=_config(profile, settings, gates, include),
        gates=outcomes,
        metrics=results,
        privacy=privacy_section(results, real.holdout is not None),
        plots=plot_data(evidence, results),
        neighbours=closest_rows(evidence),
        provenance=dict(provenance or {}),
        warnings=(
            *notes,
            *_warnings(real, results, tables.asked),
            *(incomparable(results, baseline) if baseline else ()),
        ),
        timings={key: round(value, 3) for key, value in timings.items()},
    )


def prepare(tables: Tables, *, target: str | None, seed: int = 0, constraints: Sequence[str] = ()) -> Real:
    """The real side, checked; can be used for many synthetic tables."""
    check_tables(tables.train, tables.validation, tables.holdout, target, group=tables.group)
    train = align(tables.train, tables.train.schema, "train")
    columns = columns_of(train.schema, table_kinds(tables.kinds))
    goal = next((c for c in columns if c.name == target), None)
    validation = (
        None
        if tables.validation is None or not tables.validation.num_rows
        else align(tables.validation, train.schema, "validation")
    )
    holdout = (
        None
        if tables.holdout is None or not tables.holdout.num_rows
        else align(tables.holdout, train.schema, "holdout")
    )
    return Real(
        train=train,
        validation=validation,
        holdout=holdout,
        columns=columns,
        target=target,
        task=None if goal is None else task_of(goal, train),
        constraints=tuple(parse_constraint(text, train.schema) for text in constraints),
        seed=seed,
        group=tables.group,
        declared_levels={
            name: frozenset(levels) for name, levels in tables.levels.items() if name in train.column_names
        },
    )


def compute(
    evidence: Evidence, chosen: Sequence[type[Metric]], timings: dict[str, float] | None = None
) -> dict[str, Result]:
    """Every chosen metric's result, by name; one whose needs aren't met says so instead of a value."""
    results: dict[str, Result] = {}
    for cls in chosen:
        begun = time.monotonic()
        unmet = _unmet(cls, evidence)
        result = (
            cls.missing(*unmet)
            if unmet
            else cls().compute(evidence.on_whole() if cls.on_whole_table else evidence)
        )
        results[cls.name] = result.model_copy(update={"confidence": evidence.settings.confidence})
        if timings is not None:
            timings[cls.name] = time.monotonic() - begun
    return results


NEEDS: dict[str, tuple[Literal["unavailable", "not_applicable"], str, Callable[[Evidence], bool]]] = {
    "holdout": (
        "unavailable",
        "needs a holdout: rows of the source that the generator never saw; train with data.split.holdout > 0",
        lambda e: e.real.holdout is not None,
    ),
    "target": (
        "not_applicable",
        "no target column was named, so there is nothing to predict; set data.target",
        lambda e: e.real.target is not None,
    ),
    "constraints": (
        "not_applicable",
        "no constraints are declared; list them under `constraints` in the gates file",
        lambda e: bool(e.real.constraints),
    ),
    "requested": (
        "not_applicable",
        "how many rows were asked for is not known",
        lambda e: e.settings.requested_rows is not None,
    ),
    "retrain": (
        "not_applicable",
        "retraining the generator was not offered; run the job with a recipe and --budget",
        lambda e: e.settings.retrain is not None,
    ),
}


def _unmet(
    cls: type[Metric], evidence: Evidence
) -> tuple[Literal["unavailable", "not_applicable"], str] | None:
    for need in sorted(cls.needs, key=lambda need: NEEDS[need][0] != "not_applicable"):
        status, reason, met = NEEDS[need]
        if not met(evidence):
            return status, reason
    return None


def _chosen(profile: Profile, include: Sequence[str]) -> list[type[Metric]]:
    known = metric_classes()
    for name in include:
        if name not in known:
            raise RecipeError(f"no metric named {name!r}{did_you_mean(name, known)}", field="include")
    return [cls for name, cls in known.items() if in_profile(cls, profile) or name in include]


@dataclass(frozen=True)
class ReadParts:
    """A task: read some consecutive parts and return their merged statistics. Picklable."""

    passes: Passes
    real_schema: pa.Schema
    plan: Any

    def __call__(self, parts: Sequence[Part]) -> tuple[Any, ...]:
        state: tuple[Any, ...] | None = None
        for part in parts:
            view = PartView(align(part.load(), self.real_schema, "synthetic"), self.plan, part.first_row)
            found = self.passes.partial(view)
            state = found if state is None else self.passes.merge(state, found)
        assert state is not None
        return state


def read_synthetic(
    synthetic: pa.Table | Sequence[Part] | Iterable[pa.Table],
    real: Real,
    settings: Settings,
    map_tasks: MapTasks,
) -> tuple[Totals, pa.Table, list[str]]:
    """Statistics of every synthetic row, a sample of them, and notes for the report."""
    notes: list[str] = []
    if isinstance(synthetic, pa.Table):
        extra = sorted(set(synthetic.column_names) - set(real.train.column_names))
        notes = (
            [f"columns that the training rows do not have were left out: {', '.join(extra)}"] if extra else []
        )
        synthetic = [
            SlicePart(synthetic.slice(at, PART_ROWS), at)
            for at in range(0, max(1, synthetic.num_rows), PART_ROWS)
        ]
    known_rows = synthetic[-1].first_row if isinstance(synthetic, Sequence) and len(synthetic) else 0
    passes = real.passes(SampleRows(settings.limits.sample_rows, settings.seed, known_rows))
    read = ReadParts(passes, real.train.schema, real.plan)
    states = (
        map_tasks(read, _groups(synthetic)) if isinstance(synthetic, Sequence) else [_stream(read, synthetic)]
    )
    check_tables(real.train, None, None, real.target, synthetic_rows=sum(state[0].rows for state in states))
    merged = states[0]
    for state in states[1:]:
        merged = passes.merge(merged, state)
    totals, sample = passes.finish(merged)
    assert sample is not None
    return totals, sample, notes


def _groups(parts: Sequence[Part]) -> list[list[Part]]:
    count = min(len(parts), MAX_TASKS)
    bounds = [len(parts) * i // count for i in range(count + 1)] if count else [0]
    return [list(parts[a:b]) for a, b in pairwise(bounds)]


def _stream(read: ReadParts, tables: Iterable[pa.Table]) -> tuple[Any, ...]:
    state, first_row = None, 0
    for table in tables:
        found = read([SlicePart(table, first_row)])
        state = found if state is None else read.passes.merge(state, found)
        first_row += table.num_rows
    return state if state is not None else read([SlicePart(read.real_schema.empty_table(), 0)])


def _limits(profile: Profile, sample_rows: int | Literal["all"] | None) -> Limits:
    if sample_rows == "all":
        return Limits(None, None)
    if sample_rows is not None:
        if sample_rows < 1:
            raise RecipeError(f"must be a positive number or 'all', got {sample_rows}", field="sample_rows")
        return Limits(sample_rows, sample_rows)
    return Limits(QUICK_ROWS, QUICK_ROWS) if profile == "quick" else Limits()


def _inputs(real: Real, evidence: Evidence, asked: str) -> dict[str, Any]:
    return {
        **({"asked": asked} if asked else {}),
        "train_rows": real.train.num_rows,
        "validation_rows": 0 if real.validation is None else real.validation.num_rows,
        "holdout_rows": 0 if real.holdout is None else real.holdout.num_rows,
        "synthetic_rows": evidence.synthetic_rows,
        "sampled_synthetic_rows": evidence.sample.num_rows,
        "columns": {c.name: c.kind for c in real.columns},
        "target": real.target,
        "task": real.task,
    }


def _config(profile: str, settings: Settings, gates: Gates, include: Sequence[str]) -> dict[str, Any]:
    return {
        "profile": profile,
        "seed": settings.seed,
        "neighbour_rows": settings.limits.neighbour_rows,
        "classifier_rows": settings.limits.classifier_rows,
        "confidence": settings.confidence,
        "include": sorted(include),
        "gates": gates.model_dump(mode="json", exclude_defaults=True),
        "gates_sha256": fingerprint(gates),
    }


def _warnings(real: Real, results: Mapping[str, Result], asked: str) -> list[str]:
    found = (
        [
            f"the rows were asked for with {asked}: figures compare them with such real rows; lift adds them"
            " to all"
        ]
        if asked
        else []
    )
    if real.holdout is None:
        missing = sorted(name for name, result in results.items() if result.status == "unavailable")
        found.append(
            f"no holdout: these figures can't be given: {', '.join(missing)}; nor is there a real-vs-real"
            " reference for the others"
        )
    return found
