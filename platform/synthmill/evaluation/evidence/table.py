"""Tables: statistics of every synthetic row, computed part by part and merged, and a seeded sample of
declared size for all that can't read everything."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, ClassVar

import pyarrow as pa

from synthmill.data.schema import ColumnRule
from synthmill.errors import DataError, did_you_mean
from synthmill.evaluation.align import align_side, common_schema, left_out, seen_kinds, unreadable_notes
from synthmill.evaluation.checks import align, check_tables
from synthmill.evaluation.constraints import known_constraints
from synthmill.evaluation.evidence.base import Evidence, Need, Page, Request, Term
from synthmill.evaluation.plots import closest_rows, plot_data
from synthmill.evaluation.repeats import repeat_notes
from synthmill.evaluation.tables import Synthetic, Tables, groups_of, has_rows, numbered, parts_of
from synthmill.metrics.base import MapTasks, Metric, Part, Result
from synthmill.metrics.lib.binning import Plan
from synthmill.metrics.lib.columns import columns_of, kinds_of
from synthmill.metrics.lib.learners import LEARNERS, task_of
from synthmill.metrics.lib.sample import SampleRows
from synthmill.metrics.lib.table_evidence import (
    Limits,
    OfRealRows,
    Passes,
    Real,
    Settings,
    TableEvidence,
    Totals,
)
from synthmill.metrics.lib.view import PartView
from synthmill.metrics.table.pair_gap import MIN_STRENGTH

# The quick profile runs inside generation jobs and must take seconds.
QUICK_ROWS = 10_000
LEAST_P = 0.001
"""Of the tests of privacy: below it a search takes rows for copies, as the gates do."""
MOST_COPIED = 1.5
"""Near copies of training rows for one of holdout rows, which chance alone may give."""
THOROUGH: dict[str, Any] = {"learners": LEARNERS, "learner_seeds": 12, "baseline_seeds": 3}
"""Settings of the full and the audit profile."""


class Table(Evidence):
    """Rows with named columns."""

    gates = "gates.yaml"
    options = frozenset({"include", "secret", "budget"})
    needs: ClassVar[Mapping[str, Need]] = {
        "holdout": Need(
            "unavailable",
            "needs a holdout: rows that the generator never saw; train with data.split.holdout > 0",
            lambda e: e.real.holdout is not None,
        ),
        "target": Need(
            "not_applicable",
            "no target column was named, so there is nothing to predict; set data.target",
            lambda e: e.real.target is not None,
        ),
        "constraints": Need(
            "not_applicable",
            "no constraints are declared; list them in the recipe's data.constraints, or in the gates file",
            lambda e: bool(e.real.constraints),
        ),
        "sequences": Need(
            "not_applicable",
            "rows stand for themselves; data.group_by makes sequences of them",
            lambda e: e.real.sequence is not None,
        ),
        "requested": Need(
            "not_applicable",
            "how many rows were asked for is not known",
            lambda e: e.settings.requested_rows is not None,
        ),
        "retrain": Need(
            "not_applicable",
            "retraining the generator was not offered; run the job with a recipe and --budget",
            lambda e: e.settings.retrain is not None,
        ),
    }
    page = Page(
        heading="Synthetic table",
        tiles={
            "Utility": (("utility.lift_dataset", "best"), ("utility.tstr_ratio", None)),
            "Fidelity": (
                ("tabular.pair_gap", "worst_decile"),
                ("tabular.marginal_gap", "worst_decile"),
                ("diversity.coverage", None),
            ),
            "Privacy": (
                ("privacy.mia_tpr@1fpr", None),
                ("privacy.near_copy_pvalue", "train_share"),
                ("privacy.exact_copy_excess", "train_share"),
            ),
        },
        captions={},
        facts=lambda i: [f"{i['synthetic_rows']:,} synthetic rows", f"{len(i['columns'])} columns"],
    )

    objective: ClassVar[Mapping[str, Term]] = {
        # Each is near 0 for columns drawn independently: a figure that they already win teaches nothing.
        "pairs": Term("tabular.pair_gap", lambda found: _kept_dependence(found)),
        "classifier": Term("fidelity.c2st_auc", lambda found: _share(_near_half(found.value))),
        "utility": Term("utility.tstr_ratio", lambda found: _share(found.value)),
    }
    limits: ClassVar[Mapping[str, Term]] = {
        "near_copies": Term("privacy.near_copy_pvalue", lambda found: _copied(found)),
        "membership": Term("privacy.mia_tpr@1fpr", lambda found: _decades(_aspect(found, "p_value"))),
    }

    def __init__(
        self,
        evidence: TableEvidence,
        *,
        asked: str = "",
        include: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self.evidence = evidence
        self._asked, self._include, self._notes = asked, include, notes

    @classmethod
    def from_elsewhere(cls, tables: Tables, *, target: str | None, rules: Mapping[str, ColumnRule]) -> Tables:
        assert isinstance(tables.synthetic, pa.Table), "data from elsewhere is in memory"
        check_tables(tables.train, tables.validation, tables.holdout, target)
        keys = () if tables.sequence is None else tables.sequence.keys
        _check_sequence(tables)
        sides = {"validation": tables.validation, "holdout": tables.holdout, "synthetic": tables.synthetic}
        there = {name: side for name, side in sides.items() if side is not None}
        schema = common_schema(tables.train, there)
        train = align_side(tables.train, schema, "train").table
        aligned = {name: align_side(side, schema, name) for name, side in there.items()}
        read = {name: side.table for name, side in aligned.items()}
        repeats = repeat_notes(train, read.get("holdout"), read["synthetic"])
        return replace(
            tables,
            train=train,
            validation=read.get("validation"),
            holdout=read.get("holdout"),
            synthetic=read["synthetic"],
            kinds={**seen_kinds(tables.train, rules), **dict.fromkeys(keys, "identifier")},
            levels={name: rule.categories for name, rule in rules.items() if rule.categories is not None},
            unreadable=aligned["synthetic"].unreadable,
            notes=(*left_out(there, schema), *unreadable_notes(aligned), *repeats),
        )

    @classmethod
    def gather(cls, tables: Tables, request: Request) -> "Table":
        settings, constraints = _settings(request), request.gates.constraints
        real = prepare(tables, target=request.target, seed=request.seed, constraints=constraints)
        if tables.whole is not None:
            real.whole = prepare(
                tables.whole, target=request.target, seed=request.seed, constraints=constraints
            )
        totals, sample, notes = read_synthetic(tables.synthetic, real, settings, request.map_tasks)
        evidence = TableEvidence(real, totals, sample, settings, request.map_tasks, tables.unreadable)
        return cls(evidence, asked=tables.asked, include=request.options.include, notes=notes)

    @classmethod
    def against(cls, tables: Tables, request: Request) -> Callable[[Synthetic], Evidence]:
        # Bins, pairs, encoders and statistics of the real rows are what costs; they are made once.
        settings, known = _settings(request), OfRealRows()
        real = prepare(tables, target=request.target, seed=request.seed)

        def gather(synthetic: Synthetic) -> Evidence:
            totals, sample, notes = read_synthetic(synthetic, real, settings, request.map_tasks)
            evidence = TableEvidence(real, totals, sample, settings, request.map_tasks, known=known)
            return cls(evidence, notes=notes)

        return gather

    @property
    def has_holdout(self) -> bool:
        return self.evidence.real.holdout is not None

    def for_metric(self, metric: type[Metric[Any]]) -> TableEvidence:
        evidence: TableEvidence = self.evidence
        return evidence.on_whole() if metric.on_whole_table else evidence

    def relevant(self, chosen: list[type[Metric[Any]]]) -> list[type[Metric[Any]]]:
        if self.evidence.real.sequence is not None:
            return chosen
        return [one for one in chosen if "sequences" not in one.needs or one.name in self._include]

    def inputs(self) -> dict[str, Any]:
        real = self.evidence.real
        return {
            "train_rows": real.train.num_rows,
            "validation_rows": 0 if real.validation is None else real.validation.num_rows,
            "holdout_rows": 0 if real.holdout is None else real.holdout.num_rows,
            "synthetic_rows": self.evidence.synthetic_rows,
            "sampled_synthetic_rows": self.evidence.sample.num_rows,
            "columns": {c.name: c.kind for c in real.columns},
            "target": real.target,
            "task": real.task,
        }

    def config(self) -> dict[str, Any]:
        limits = self.evidence.settings.limits
        return {
            "neighbour_rows": limits.neighbour_rows,
            "classifier_rows": limits.classifier_rows,
            "include": sorted(self._include),
        }

    def plots(self, results: Mapping[str, Result]) -> dict[str, Any]:
        return plot_data(self.evidence, results)

    def neighbours(self) -> tuple[dict[str, Any], ...]:
        return closest_rows(self.evidence)

    def warnings(self, results: Mapping[str, Result]) -> list[str]:
        notes = list(self._notes)
        if self._asked:
            notes.append(
                f"the rows were requested with {self._asked}: figures compare them with such real rows; lift"
                " adds them to all"
            )
        if not self.has_holdout:
            missing = sorted(name for name, result in results.items() if result.status == "unavailable")
            notes.append(
                f"no holdout: these figures can't be given: {', '.join(missing)}; nor is there a real-vs-real"
                " reference for the others"
            )
        return notes


def _check_sequence(tables: Tables) -> None:
    """DataError for columns of sequences that the training table does not have."""
    if tables.sequence is None:
        return
    order = tables.sequence.order
    for field, names in (("group_by", tables.sequence.keys), ("order_by", (order,) if order else ())):
        unknown = next((name for name in names if name not in tables.train.column_names), None)
        if unknown is not None:
            hint = did_you_mean(unknown, tables.train.column_names)
            raise DataError(f"no column named {unknown!r}{hint}", field=field)


def prepare(tables: Tables, *, target: str | None, seed: int = 0, constraints: Sequence[str] = ()) -> Real:
    """The real side, checked; can be used for many synthetic tables."""
    check_tables(tables.train, tables.validation, tables.holdout, target, group=tables.group)
    # Train too, for its NaN.
    train = align(tables.train, tables.train.schema, "train")
    stated = () if tables.codec is None else tables.codec.constraints
    profile = tables.codec.profile if tables.codec is not None and not tables.kinds else None
    columns = columns_of(train.schema, kinds_of(profile or tables.kinds))
    goal = next((c for c in columns if c.name == target), None)
    validation, holdout = (
        align(side, train.schema, name) if has_rows(side) else None
        for name, side in (("validation", tables.validation), ("holdout", tables.holdout))
    )
    return Real(
        train=train,
        validation=validation,
        holdout=holdout,
        columns=columns,
        target=target,
        task=None if goal is None else task_of(goal, train),
        constraints=known_constraints(constraints, stated, train),
        seed=seed,
        group=tables.group,
        sequence=tables.sequence,
        declared_levels={
            name: frozenset(levels) for name, levels in tables.levels.items() if name in train.column_names
        },
    )


@dataclass(frozen=True)
class ReadParts:
    """A task: read some consecutive parts and return their merged statistics. Picklable."""

    passes: Passes
    real_schema: pa.Schema
    plan: Plan

    def __call__(self, parts: Iterable[Part]) -> tuple[Any, ...]:
        """Raises DataError where there is no part."""
        state: tuple[Any, ...] | None = None
        for part in parts:
            view = PartView(align(part.load(), self.real_schema, "synthetic"), self.plan, part.first_row)
            counted = self.passes.partial(view)
            state = counted if state is None else self.passes.merge(state, counted)
        if state is None:
            raise DataError("the synthetic table has no rows", field="synthetic")
        return state


def read_synthetic(
    synthetic: Synthetic, real: Real, settings: Settings, map_tasks: MapTasks
) -> tuple[Totals, pa.Table, list[str]]:
    """Statistics of every synthetic row, a sample of them, and notes for the report."""
    notes: list[str] = []
    if isinstance(synthetic, pa.Table):
        extra = sorted(set(synthetic.column_names) - set(real.train.column_names))
        if extra:
            notes = [f"columns that the training rows do not have were left out: {', '.join(extra)}"]
        synthetic = parts_of(synthetic)
    in_parts = isinstance(synthetic, Sequence)
    # The number of rows is a lower bound that lets each part keep less than a whole sample.
    known_rows = synthetic[-1].first_row if isinstance(synthetic, Sequence) and synthetic else 0
    # One reading of every part computes all statistics: reading is what takes long.
    passes = real.passes(SampleRows(settings.limits.sample_rows, settings.seed, known_rows))
    read = ReadParts(passes, real.train.schema, real.plan)
    states = map_tasks(read, groups_of(list(synthetic))) if in_parts else [read(numbered(synthetic))]
    # In the order of the rows, so that the result does not depend on who read which part.
    totals, sample = passes.finish(reduce(passes.merge, states))
    # Only now is it known: parts and iterators can not know how many rows they have.
    check_tables(real.train, None, None, real.target, synthetic_rows=totals.counts.rows)
    assert sample is not None
    return totals, sample, notes


def _settings(request: Request) -> Settings:
    limits = Limits(QUICK_ROWS, QUICK_ROWS) if request.profile == "quick" else Limits()
    if request.sample_rows is not None:
        rows = None if request.sample_rows == "all" else request.sample_rows
        limits = Limits(rows, rows)
    return Settings(
        seed=request.seed,
        limits=limits,
        confidence=request.gates.defaults.confidence,
        requested_rows=request.requested_rows,
        retrain=request.retrain,
        budget_seconds=request.options.budget,
        secrets=request.options.secret,
        **THOROUGH if request.profile in ("full", "audit") else {},
    )


def _aspect(found: Result, name: str) -> float | None:
    estimate = found.aspects.get(name)
    return None if estimate is None else estimate.value


def _kept_dependence(found: Result) -> float | None:
    """The share of the dependence between columns that is kept; None where real columns have none to keep."""
    lost = _aspect(found, "lost_share")
    if lost is None or found.details["dependence"] <= MIN_STRENGTH:
        return None
    return _share(1.0 - lost)


def _near_half(auc: float | None) -> float | None:
    return None if auc is None else 1.0 - 2.0 * abs(auc - 0.5)


def _share(value: float | None) -> float | None:
    return None if value is None else min(1.0, max(0.0, value))


def _decades(p: float | None) -> float | None:
    """How many powers of ten a p-value is below the least."""
    return None if p is None else math.log10(LEAST_P) - math.log10(max(p, 1e-300))


def _copied(found: Result) -> float | None:
    # Broken where both are: a large sample makes a trifle significant, a small one makes chance look large.
    decades, ratio = _decades(found.value), _aspect(found, "ratio")
    return None if decades is None or ratio is None else min(decades, ratio - MOST_COPIED)
