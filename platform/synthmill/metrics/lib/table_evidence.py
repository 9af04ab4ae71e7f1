"""What metrics of tables read: real tables, statistics of every synthetic row, a sample, shared encodings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.constraints.base import Constraint
from synthmill.metrics.base import MapTasks, Mergeable, Metric, Once, Retrain, map_serially
from synthmill.metrics.lib.binning import MAX_PAIR_LEVELS, NUM_BINS, Plan, fit_bins
from synthmill.metrics.lib.columns import Column, Floats, level_counts, row_hashes, texts
from synthmill.metrics.lib.counts import CountTable, Flagged, Rules, TableCounts, rules_from
from synthmill.metrics.lib.forms import ColumnForm, CountForms, fit_forms
from synthmill.metrics.lib.identifiers import CountIdentifiers, RealIdentifiers, real_identifiers
from synthmill.metrics.lib.learners import Features, Labelled, Prediction, Task, fit_features, labelled
from synthmill.metrics.lib.pairs import choose_pairs
from synthmill.metrics.lib.rows import (
    CountDistinct,
    CountMatches,
    DistinctRows,
    MatchCounts,
    RealRows,
    single_rows,
)
from synthmill.metrics.lib.sample import draw
from synthmill.metrics.lib.sequences import SampleSequences, SequenceColumns
from synthmill.metrics.lib.space import Points, Space, fit_space
from synthmill.metrics.lib.validity import Validity, row_validity
from synthmill.metrics.lib.view import PartView

ASSOCIATION_ROWS = 50_000
Figure = TypeVar("Figure")
Side = Literal["train", "validation", "holdout", "synthetic"]


@dataclass(frozen=True)
class Limits:
    """Rows a side that figures which can't read everything may use; None: all."""

    neighbour_rows: int | None = 20_000
    classifier_rows: int | None = 50_000

    @property
    def sample_rows(self) -> int | None:
        """Synthetic rows that they need in the sample."""
        if self.neighbour_rows is None or self.classifier_rows is None:
            return None
        return max(self.neighbour_rows, self.classifier_rows)


@dataclass(frozen=True)
class Settings:
    """What the caller chose; everything has a default that suits most tables."""

    seed: int = 0
    limits: Limits = Limits()
    confidence: float = 0.95
    learners: tuple[str, ...] = ("gradient_boosting", "linear")
    learner_seeds: int = 3
    baseline_seeds: int = 1
    """Learner seeds of the arms that `utility.lift_dataset` only compares with."""
    replicates: int = 200
    """Bootstrap draws of the test rows."""
    requested_rows: int | None = None
    """Rows that were requested of the generator; None: unknown."""
    retrain: Retrain | None = None
    """Trains a fresh generator on a subset and samples from it; None: can't retrain."""
    budget_seconds: float | None = None
    """Wall time that each figure which retrains may take; None: no limit."""
    lowdata_rows: tuple[int, ...] = (40, 150, 600)
    lowdata_seeds: int = 12
    shadow_models: int = 16
    shadow_rows: int = 2_000
    attacks: int = 500
    """Attempts of each opt-in attack."""
    secrets: tuple[str, ...] = ()
    """Columns that attribute inference tries to learn; () = the target, else every column in turn."""


@dataclass(frozen=True)
class Totals:
    """Statistics of every row of one table."""

    counts: TableCounts
    distinct: DistinctRows
    matches: MatchCounts | None = None
    forms: Flagged | None = None
    identifiers: Flagged | None = None
    sequences: pa.Table | None = None
    """All rows of some sequences, where rows are parts of some."""


@dataclass(frozen=True)
class Passes:
    """The statistics that one reading of a table computes, as one mergeable statistic, and the sample."""

    count: CountTable
    distinct: CountDistinct
    matches: CountMatches | None = None
    forms: CountForms | None = None
    identifiers: CountIdentifiers | None = None
    sequences: SampleSequences | None = None
    sample: Mergeable[Any, pa.Table] | None = None

    def _all(self) -> tuple[Mergeable[Any, Any] | None, ...]:
        others = (self.matches, self.forms, self.identifiers, self.sequences)
        return (self.count, self.distinct, *others, self.sample)

    def partial(self, view: PartView) -> tuple[Any, ...]:
        """Every statistic of one part."""
        return tuple(None if s is None else s.partial(view) for s in self._all())

    def merge(self, left: tuple[Any, ...], right: tuple[Any, ...]) -> tuple[Any, ...]:
        """Every statistic of both."""
        return tuple(
            None if s is None else s.merge(a, b) for s, a, b in zip(self._all(), left, right, strict=True)
        )

    def finish(self, state: tuple[Any, ...]) -> tuple[Totals, pa.Table | None]:
        """The totals and the sample."""
        *counted, sequences, sample = state
        kept = None if self.sequences is None else self.sequences.finish(sequences)
        totals = replace(Totals(*counted), sequences=kept)
        return totals, None if self.sample is None else self.sample.finish(sample)


@dataclass
class Real:
    """The real tables and all that can be known from them alone, computed once."""

    train: pa.Table
    validation: pa.Table | None
    holdout: pa.Table | None
    columns: tuple[Column, ...]
    target: str | None
    task: Task | None
    constraints: tuple[Constraint, ...] = ()
    seed: int = 0
    group: str | None = None
    """Column whose equal values are on one side of the split; privacy tests then count one row a group."""
    sequence: SequenceColumns | None = None
    """Of rows that are parts of sequences; privacy tests then count one row a sequence."""
    declared_levels: dict[str, frozenset[str]] = field(default_factory=dict)
    """Column -> the only levels it can have, as declared; left aside where real rows have others."""
    whole: "Real | None" = None
    """All real rows, where these are only those that meet the requested condition."""

    @property
    def tables(self) -> list[pa.Table]:
        """Those that there are."""
        return [table for table in (self.train, self.validation, self.holdout) if table is not None]

    @cached_property
    def plan(self) -> Plan:
        """Bins and pairs, from the training rows alone."""
        bins = {c.name: fit_bins(c, self.train[c.name]) for c in self.columns if c.role != "identifier"}
        sample = draw(self.train, ASSOCIATION_ROWS, self.seed)
        return choose_pairs(Plan(self.columns, bins), sample, self.seed)

    @cached_property
    def rules(self) -> Rules:
        """What no real row does; from train, validation and holdout together."""
        tables = self.tables
        nulls = {c.name: sum(t[c.name].null_count for t in tables) for c in self.columns}
        levels = {
            c.name: level_counts([t[c.name] for t in tables]) for c in self.columns if c.role == "category"
        }
        infinite = frozenset(
            c.name
            for c in self.columns
            if any(
                pa.types.is_floating(t[c.name].type) and pc.any(pc.is_inf(t[c.name])).as_py() for t in tables
            )
        )
        rows = sum(t.num_rows for t in tables)
        rules = rules_from(self.plan.bins, nulls, levels, rows, infinite)
        # A declaration that real rows break is wrong, and would fail every generator.
        declared = {
            name: allowed
            for name, allowed in self.declared_levels.items()
            if allowed.issuperset(levels.get(name, ()))
        }
        return replace(rules, closed={**rules.closed, **declared}, declared=frozenset(declared))

    @cached_property
    def single_sides(self) -> tuple[pa.Table, pa.Table] | None:
        """Rows of train and of holdout that occur once in both together, at most one a group; None without a
        holdout.

        Which side such a row fell to is chance, which is all that the privacy tests assume.
        """
        if self.holdout is None:
            return None
        sides = (self.train, self.holdout)
        hashes = [row_hashes(self.columns, side) for side in sides]
        known = single_rows(*hashes)
        parts = zip(sides, hashes, (known.train, known.holdout), strict=True)
        first, second = (side.filter(np.isin(h, single)) for side, h, single in parts)
        if self.group is None and self.sequence is None:
            return first, second
        # The split put all rows of a group on one side, so only one of them is an independent draw.
        groups = self.sequence.keys if self.group is None and self.sequence else (str(self.group),)
        return _one_a_group(first, groups, self.seed), _one_a_group(second, groups, self.seed)

    @cached_property
    def singles(self) -> RealRows | None:
        """Sorted hashes of `single_sides`."""
        if self.single_sides is None:
            return None
        train, holdout = (np.sort(row_hashes(self.columns, side)) for side in self.single_sides)
        return RealRows(train, holdout)

    def passes(self, sample: Mergeable[Any, pa.Table] | None = None) -> Passes:
        """The statistics to compute over a table that is compared with these."""
        return Passes(
            count=CountTable(self.rules, self.constraints),
            distinct=CountDistinct(),
            # Without a holdout nothing says how many copies would be chance.
            matches=None if self.singles is None else CountMatches(self.singles),
            forms=CountForms(self.forms),
            identifiers=CountIdentifiers(self.identifiers),
            sequences=None if self.sequence is None else SampleSequences(self.sequence, self.seed),
            sample=sample,
        )

    @cached_property
    def forms(self) -> dict[str, ColumnForm]:
        """The written form of every column's real values."""
        return fit_forms(self.columns, self.tables)

    @cached_property
    def identifiers(self) -> dict[str, RealIdentifiers]:
        """Real identifiers, which generated ones must not be."""
        return real_identifiers(self.columns, self.train, self.validation, self.holdout)

    @cached_property
    def train_totals(self) -> Totals:
        """Statistics of the training rows."""
        return self._totals(self.train)

    @cached_property
    def holdout_totals(self) -> Totals | None:
        """Statistics of the holdout rows."""
        return None if self.holdout is None else self._totals(self.holdout)

    def _totals(self, table: pa.Table) -> Totals:
        # No copies, forms or identifiers: real rows are what these compare with.
        passes = Passes(CountTable(self.rules, self.constraints), CountDistinct())
        return passes.finish(passes.partial(PartView(table, self.plan)))[0]

    @cached_property
    def space(self) -> Space:
        """Coordinates of rows, fitted on train and holdout together."""
        # Fitted on both: fitted on train alone, training rows would lie closer together than unseen ones.
        return fit_space(self.columns, [self.train] if self.holdout is None else [self.train, self.holdout])

    @cached_property
    def features(self) -> Features:
        """Features that predict the target."""
        return fit_features(self.columns, self.plan.bins, self.train, self.target, self.task)

    @cached_property
    def all_features(self) -> Features:
        """Features of every column, the target included."""
        return fit_features(self.columns, self.plan.bins, self.train, None, None)


def _one_a_group(side: pa.Table, groups: tuple[str, ...], seed: int) -> pa.Table:
    mixed = draw(side, None, seed)
    codes = np.stack([texts(mixed[name])[0] for name in groups], axis=1)
    return mixed.take(np.unique(codes, axis=0, return_index=True)[1])


@dataclass
class OfRealRows:
    """Costly figures that no synthetic row changes."""

    predictions: dict[Prediction, Floats] = field(default_factory=dict)
    """On the test rows, of learners that several figures train alike."""
    figures: dict[tuple[str, int], Any] = field(default_factory=dict)
    """By metric and rows a side."""

    def figure(self, name: str, rows: int, compute: Callable[[], Figure]) -> Figure:
        """What `compute` gives, asked once."""
        if (name, rows) not in self.figures:
            self.figures[name, rows] = compute()
        found: Figure = self.figures[name, rows]
        return found


class TableEvidence(Once):
    """Everything a metric can read about one synthetic table."""

    def __init__(
        self,
        real: Real,
        totals: Totals,
        sample: pa.Table,
        settings: Settings,
        map_tasks: MapTasks = map_serially,
        unreadable: Mapping[str, int] | None = None,
        known: "OfRealRows | None" = None,
    ) -> None:
        """`known` is shared by evidences of the same real rows with the same settings."""
        super().__init__()
        self.unreadable = unreadable or {}
        """Column -> synthetic cells that do not read as its type; they are missing here."""
        self.real = real
        self.totals = totals
        self.sample = sample
        self.settings = settings
        self.map_tasks = map_tasks
        self.known = known or OfRealRows()
        self._shuffled: dict[Side, pa.Table] = {}
        self._points: dict[tuple[Side, int], Points] = {}
        self._labelled: dict[tuple[Side, int | None], Labelled] = {}

    def on_whole(self) -> "TableEvidence":
        """The same synthetic rows beside all real ones."""
        # Computed once, as metrics share what it remembers.
        return self if self.real.whole is None else self.once(_beside_all)

    @property
    def confidence(self) -> float:
        """Two-sided level of intervals."""
        return self.settings.confidence

    def validity(self) -> Validity:
        """Rows with a cell that no real row has."""
        holdout = self.real.holdout_totals
        return row_validity(self.totals.counts, self.real.rules, None if holdout is None else holdout.counts)

    @property
    def synthetic_rows(self) -> int:
        """Rows of the whole synthetic table."""
        return self.totals.counts.rows

    def rng(self, purpose: int) -> np.random.Generator:
        """A generator of its own for each purpose, so that adding a metric changes no other figure."""
        return np.random.default_rng([self.settings.seed & 0xFFFFFFFF, purpose])

    def table(self, side: Side, limit: int | None = None) -> pa.Table:
        """At most `limit` rows of a side, a seeded sample in random order."""
        # Already a seeded sample in random order.
        if side == "synthetic":
            return self.sample if limit is None else self.sample.slice(0, limit)
        real = self.real
        table = {"train": real.train, "validation": real.validation, "holdout": real.holdout}[side]
        assert table is not None, f"a metric read the {side} rows without declaring that it needs them"
        if side not in self._shuffled:
            self._shuffled[side] = draw(table, None, self.settings.seed + 1)
        return self._shuffled[side] if limit is None else self._shuffled[side].slice(0, limit)

    def points(self, side: Side, limit: int | None = None) -> Points:
        """The same rows as points of `real.space`, float32 (N, D)."""
        table = self.table(side, limit)
        key = (side, table.num_rows)
        if key not in self._points:
            self._points[key] = self.real.space.points(table)
        return self._points[key]

    def labelled(self, side: Side, limit: int | None) -> Labelled:
        """The same rows as features and target, for learners."""
        key = (side, limit)
        if key not in self._labelled:
            self._labelled[key] = labelled(self.real.features, self.table(side, limit))
        return self._labelled[key]


class TableMetric(Metric[TableEvidence]):
    """Base of metrics of tables."""


def _beside_all(evidence: TableEvidence) -> TableEvidence:
    whole = evidence.real.whole
    assert whole is not None
    return TableEvidence(whole, evidence.totals, evidence.sample, evidence.settings, evidence.map_tasks)


BIN_NOTE = (
    f"deciles ({NUM_BINS} bins) and points that hold a tenth of the rows; {MAX_PAIR_LEVELS} most frequent"
    " levels in pairs"
)
