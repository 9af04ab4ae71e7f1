"""Counts over every row: marginals, pairs, bounds, unseen and impossible values."""

from collections.abc import Container
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.constraints.base import Constraint
from synthmill.data.constraints.unique import Unique
from synthmill.metrics.base import Mergeable
from synthmill.metrics.lib.binning import MIN_LEVEL_ROWS, Bins, count_pair
from synthmill.metrics.lib.columns import MISSING, Bools, Hashes, Ints
from synthmill.metrics.lib.view import PartView


@dataclass(frozen=True)
class Flagged:
    """Values that were looked at, and those among them that a statistic flags, by column."""

    values: dict[str, int]
    flagged: dict[str, int]


class CountFlagged(Mergeable[Flagged, Flagged]):
    """Base of statistics that count flagged values; size: two numbers a column."""

    def merge(self, left: Flagged, right: Flagged) -> Flagged:
        return Flagged(_add(left.values, right.values), _add(left.flagged, right.flagged))


@dataclass(frozen=True)
class Rules:
    """What makes a cell impossible, known from the real rows (or declared)."""

    never_missing: frozenset[str]
    closed: dict[str, frozenset[str]]
    """Column -> the only levels it can have."""
    whole: frozenset[str]
    declared: frozenset[str] = frozenset()
    """Columns whose levels are declared; all other rules are what the real rows suggest."""
    real_rows: int = 0
    """Rows that the suggestions rest on."""
    infinite: frozenset[str] = frozenset()
    """Columns of numbers in which real rows are infinite, too: there it is a value like any other."""


@dataclass(frozen=True)
class TableCounts:
    """Counts of one table (or of some of its rows)."""

    rows: int
    marginals: dict[str, Ints]
    pairs: dict[tuple[str, str], Ints]
    out_of_bounds: dict[str, int]
    """Numeric values outside the training range."""
    unseen: dict[str, int]
    """Category values that no training row has."""
    levels: dict[str, Bools]
    """Training level -> does it occur."""
    invalid_rows: int
    impossible_rows: int
    """Those with a cell that can't be: infinite, a fraction of a whole number, outside declared levels."""
    invalid: dict[str, int]
    suspect: dict[str, int]
    """Cells that only break what the real rows suggest, by column."""
    broken: dict[str, int]
    """Constraint -> rows that break it."""
    tuples: dict[str, Hashes] = field(default_factory=dict)
    """Constraint of unique columns -> hashes of their values."""


class CountTable(Mergeable[TableCounts, TableCounts]):
    """Counts every row of a table; size: bins, pairs of bins and training levels."""

    def __init__(
        self, rules: Rules, constraints: tuple[Constraint, ...] = (), *, with_pairs: bool = True
    ) -> None:
        self.rules = rules
        self.constraints = constraints
        self.with_pairs = with_pairs

    def partial(self, view: PartView) -> TableCounts:
        bins = view.plan.bins
        pairs = view.plan.pairs if self.with_pairs else ()
        invalid = self._invalid(view)
        numeric = [name for name, b in bins.items() if b.column.role == "numeric"]
        category = [name for name, b in bins.items() if b.column.role != "numeric"]
        outside = {}
        for name in numeric:
            values = view.floats(name)
            beyond = (values < bins[name].low) | (values > bins[name].high)
            beyond &= np.isfinite(values) | (name not in self.rules.infinite)
            outside[name] = int(np.count_nonzero(beyond))
        return TableCounts(
            rows=view.num_rows,
            marginals={name: np.bincount(view.codes(name), minlength=b.size) for name, b in bins.items()},
            pairs={
                (a, b): count_pair(view.coarse(a), view.coarse(b), bins[a].coarse_size, bins[b].coarse_size)
                for a, b in pairs
            },
            out_of_bounds=outside,
            unseen={name: int(np.count_nonzero(_not_in(view, name, bins[name].levels))) for name in category},
            levels={name: _levels(bins[name], view) for name in category},
            # Rows, not cells: a row with two faults is one that can't be used.
            invalid_rows=int(np.count_nonzero(invalid.rows | invalid.impossible)),
            impossible_rows=int(np.count_nonzero(invalid.impossible)),
            invalid=invalid.by_column,
            suspect=invalid.suspect,
            broken={c.text: int((~c.holds(view.table)).sum()) for c in self.constraints},
            tuples={c.text: _tuples(c, view.table) for c in self.constraints if isinstance(c, Unique)},
        )

    def merge(self, left: TableCounts, right: TableCounts) -> TableCounts:
        return TableCounts(
            rows=left.rows + right.rows,
            marginals={key: left.marginals[key] + right.marginals[key] for key in left.marginals},
            pairs={key: left.pairs[key] + right.pairs[key] for key in left.pairs},
            out_of_bounds=_add(left.out_of_bounds, right.out_of_bounds),
            unseen=_add(left.unseen, right.unseen),
            levels={key: left.levels[key] | right.levels[key] for key in left.levels},
            invalid_rows=left.invalid_rows + right.invalid_rows,
            impossible_rows=left.impossible_rows + right.impossible_rows,
            invalid=_add(left.invalid, right.invalid),
            suspect=_add(left.suspect, right.suspect),
            # Values that both parts hold repeat, though neither part has them twice.
            broken=_add(_add(left.broken, right.broken), _in_both(left.tuples, right.tuples)),
            tuples={key: np.union1d(left.tuples[key], right.tuples[key]) for key in left.tuples},
        )

    def _invalid(self, view: PartView) -> "_Invalid":
        invalid = _Invalid(np.zeros(view.num_rows, np.bool_), np.zeros(view.num_rows, np.bool_), {}, {})
        for column in view.plan.columns:
            name = column.name
            # What no real row misses may be missing rarely rather than never: only suspect. As an impossible
            # cell it failed 36 of 90 sets of fresh real rows (docs/calibration.md).
            if name in self.rules.never_missing:
                identifier = column.role == "identifier"
                missing = (
                    pc.is_null(view.table[name]).to_numpy()
                    if identifier
                    else view.codes(name) == view.plan.bins[name].size - 1
                )
                invalid.add(name, missing, suspect=True)
            if column.role == "numeric":
                values = view.floats(name)
                wrong = np.isinf(values) & (name not in self.rules.infinite)
                if name in self.rules.whole:
                    wrong |= np.isfinite(values) & (values != np.floor(values))
                invalid.add(name, wrong, suspect=False)
            elif name in self.rules.closed and column.role != "identifier":
                wrong = _not_in(view, name, self.rules.closed[name])
                invalid.add(name, wrong, suspect=name not in self.rules.declared)
        return invalid


@dataclass
class _Invalid:
    """Rows of one part with a cell that should not be."""

    rows: Bools
    impossible: Bools
    by_column: dict[str, int]
    suspect: dict[str, int]

    def add(self, name: str, cells: Bools, *, suspect: bool) -> None:
        count = int(np.count_nonzero(cells))
        if count:
            self.by_column[name] = self.by_column.get(name, 0) + count
            if suspect:
                self.rows |= cells
                self.suspect[name] = self.suspect.get(name, 0) + count
            else:
                self.impossible |= cells


def _tuples(constraint: Unique, table: pa.Table) -> Hashes:
    hashes, complete = constraint.hashes(table)
    return np.unique(hashes[complete])


def _in_both(left: dict[str, Hashes], right: dict[str, Hashes]) -> dict[str, int]:
    return {key: len(np.intersect1d(left[key], right[key], assume_unique=True)) for key in left}


def _not_in(view: PartView, name: str, levels: Container[str]) -> Bools:
    """(N,): rows whose value is none of the levels; a missing value is not counted."""
    codes, values = view.texts(name)
    table = np.array([*(value not in levels for value in values), False], dtype=np.bool_)
    return np.asarray(table[codes])


def _levels(bins: Bins, view: PartView) -> Bools:
    codes, values = view.texts(bins.column.name)
    seen = np.zeros(len(bins.levels), dtype=np.bool_)
    for code in np.unique(codes[codes != MISSING]):
        if values[code] in bins.levels:
            seen[bins.levels[values[code]]] = True
    return seen


def _add(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
    return {key: left.get(key, 0) + right.get(key, 0) for key in {**left, **right}}


def rules_from(
    bins: dict[str, Bins],
    null_counts: dict[str, int],
    level_counts: dict[str, dict[str, int]],
    real_rows: int,
    infinite: frozenset[str] = frozenset(),
) -> Rules:
    """Rules that no real row breaks: never missing, vocabularies without rare levels, whole numbers."""
    # A rare level means that others exist: only a vocabulary without any is taken for complete.
    closed = {
        name: frozenset(levels)
        for name, levels in level_counts.items()
        if levels and min(levels.values()) >= MIN_LEVEL_ROWS
    }
    whole = frozenset(name for name, b in bins.items() if b.column.whole)
    never = frozenset(name for name, count in null_counts.items() if count == 0)
    return Rules(never_missing=never, closed=closed, whole=whole, real_rows=real_rows, infinite=infinite)
