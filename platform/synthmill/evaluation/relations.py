"""How well tables hang together: whether every foreign key is some row's key, how many children parents have,
and what parents tell of their children, each beside the same figure of real rows against real rows.

Cardinality: the largest difference of the two distributions of children a parent (Kolmogorov-Smirnov).
Dependence: Cramer's V of each pair of a parent's and a child's column, over bins of the real rows; the mean
difference from the real ones over the pairs that are dependent. Its control are the same synthetic rows,
whose children are dealt out to other parents.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from synthmill.config import FrozenModel
from synthmill.data.columns import Int64
from synthmill.data.relations.cells import comparable, places, repeated
from synthmill.data.relations.context import ContextColumn, association, fit_context
from synthmill.data.relations.spec import FamiliesSpec, RelationSpec, TableSpec

DEPENDENT = 0.1
"""Association in the real rows from which a pair counts as dependent."""
MOST_PAIRS = 400
FAR, TOO_FAR = 0.1, 0.25
"""Distance of numbers of children, beyond what chance makes, from which a relation is warned of or fails."""
HALF_LOST, LOST = 0.5, 0.9
"""Shares of the dependence on the parent that is lost, from which a relation is warned of or fails."""
LEAST_DEPENDENCE = 0.05
"""Between real rows and independent ones; below it there is nothing to lose."""
_CRITICAL = 1.63
"""Of two samples' Kolmogorov-Smirnov distance at 1%, times the root of 1/n + 1/m."""

Named = Mapping[str, pa.Table]


class RelationFigures(FrozenModel):
    """One foreign key."""

    relation: str
    """`orders.customer_id -> customers`."""
    integrity: float
    """Share of the cells that are not missing that name a row; 1 or something is broken."""
    missing: float
    """Share of the child's rows that name none."""
    missing_real: float
    children: float
    """Mean number of children."""
    children_real: float
    cardinality: float
    """Kolmogorov-Smirnov distance of children a parent."""
    cardinality_reference: float | None
    """Of two sides of the real parents; null: one of them is empty."""
    cardinality_noise: float = 0.0
    """What one draw in a hundred would exceed by chance."""
    pairs: int
    """Dependent pairs of columns."""
    dependence: float | None
    """Mean difference of Cramer's V over them; null where there are none."""
    dependence_reference: float | None
    dependence_control: float | None
    """Were children independent of their parents."""

    @property
    def lost(self) -> float | None:
        """The share of the dependence on the parent that is lost: 0 as in real rows, 1 as of children dealt
        out anew; null where there is none to lose."""
        if self.dependence is None or self.dependence_control is None:
            return None
        reference = self.dependence_reference or 0.0
        room = self.dependence_control - reference
        return (self.dependence - reference) / room if room > LEAST_DEPENDENCE else None

    @property
    def verdict(self) -> Literal["pass", "warn", "fail"]:
        """Fail where a cell names no row, or numbers of children or dependence are nothing like the real."""
        beyond, lost = self.cardinality - self.cardinality_noise, self.lost or 0.0
        if self.integrity < 1 or beyond > TOO_FAR or lost > LOST:
            return "fail"
        return "warn" if beyond > FAR or lost > HALF_LOST else "pass"


class KeyFigures(FrozenModel):
    """One table's key."""

    table: str
    rows: int
    unique: float
    """Share of the rows whose key no earlier row has; 1 or something is broken."""


class RelationsReport(FrozenModel):
    """All tables."""

    keys: tuple[KeyFigures, ...]
    relations: tuple[RelationFigures, ...]

    @property
    def intact(self) -> bool:
        """Whether keys are unique and every foreign key names a row."""
        return all(one.unique == 1 for one in self.keys) and all(one.integrity == 1 for one in self.relations)


def relations_report(
    spec: FamiliesSpec,
    real: Named,
    synthetic: Named,
    sides: Mapping[str, Int64],
    learnt: Mapping[str, Sequence[str]],
    keys_of: Named | None = None,
) -> RelationsReport:
    """Compare synthetic tables with the real ones.

    Args:
        sides: of each real row, 0 train and others what stands against it.
        learnt: columns of each table that are compared, in the same types in `real` and `synthetic`.
        keys_of: keys and foreign keys of all synthetic rows, where `synthetic` has the first rows alone;
            None: it has all.
    """
    whole = synthetic if keys_of is None else keys_of
    keys = []
    for table in spec.tables:
        if table.key:
            cells = comparable(whole[table.name], table.key)
            rows = max(1, len(cells))
            broken = len(repeated(cells)) + cells.null_count
            keys.append(KeyFigures(table=table.name, rows=len(cells), unique=1 - broken / rows))
    figures = [
        _figures(table, relation, spec, real, synthetic, whole, sides, learnt)
        for table in spec.tables
        for relation in table.relations
    ]
    return RelationsReport(keys=tuple(keys), relations=tuple(figures))


def _figures(
    table: TableSpec,
    relation: RelationSpec,
    spec: FamiliesSpec,
    real: Named,
    synthetic: Named,
    whole: Named,
    sides: Mapping[str, Int64],
    learnt: Mapping[str, Sequence[str]],
) -> RelationFigures:
    key = spec.table(relation.parent).key

    def index_in(tables: Named) -> Int64:
        return places(
            comparable(tables[table.name], relation.columns), comparable(tables[relation.parent], key)
        )

    index, index_real = index_in(whole), index_in(real)
    counts = _counts(index, whole[relation.parent].num_rows)
    counts_real = _counts(index_real, real[relation.parent].num_rows)
    side = sides[relation.parent]
    train, other = counts_real[side == 0], counts_real[side != 0]
    named = index != -1
    # Of the rows that are compared by more than keys, those whose parent is among them as well.
    compared = index[: synthetic[table.name].num_rows]
    compared = np.where(compared < synthetic[relation.parent].num_rows, compared, -1)
    pairs = _Pairs(table, relation, real, index_real, sides, learnt)
    return RelationFigures(
        relation=f"{table.name}.{', '.join(relation.columns)} -> {relation.parent}",
        integrity=float((index[named] >= 0).mean()) if named.any() else 1.0,
        missing=float((index == -1).mean()) if len(index) else 0.0,
        missing_real=float((index_real == -1).mean()) if len(index_real) else 0.0,
        children=float(counts.mean()) if len(counts) else 0.0,
        children_real=float(counts_real.mean()),
        cardinality=_distance(counts, train),
        cardinality_reference=_distance(other, train) if len(other) and len(train) else None,
        cardinality_noise=_CRITICAL * float(np.sqrt(1 / max(1, len(counts)) + 1 / max(1, len(train)))),
        pairs=len(pairs.chosen),
        **pairs.compare(synthetic, compared),
    )


class _Pairs:
    """The dependent pairs of a parent's and a child's columns in real training rows."""

    def __init__(
        self,
        table: TableSpec,
        relation: RelationSpec,
        real: Named,
        index: Int64,
        sides: Mapping[str, Int64],
        learnt: Mapping[str, Sequence[str]],
    ) -> None:
        self.child, self.parent = table.name, relation.parent
        train = np.flatnonzero(sides[table.name] == 0)
        above = [_bins(name, real[self.parent], sides[self.parent] == 0) for name in learnt[self.parent]]
        below = [_bins(name, real[self.child], sides[self.child] == 0) for name in learnt[self.child]]
        both = [(a, b) for a in above if a is not None for b in below if b is not None][:MOST_PAIRS]
        self.chosen: list[tuple[ContextColumn, ContextColumn]] = []
        self.values: list[float] = []
        for pair in both:
            value = self._value(pair, real, index, train)
            if value >= DEPENDENT:
                self.chosen.append(pair)
                self.values.append(value)
        rest = np.flatnonzero(sides[table.name] != 0)
        self.reference = self._difference(real, index, rest) if len(rest) else None

    def compare(self, synthetic: Named, index: Int64) -> dict[str, float | None]:
        rows = np.arange(len(index))
        named = np.flatnonzero(index >= 0)
        dealt = index.copy()
        # A fixed order: the same tables have the same figures.
        dealt[named] = np.random.Generator(np.random.Philox(key=0)).permutation(index[named])
        return {
            "dependence": self._difference(synthetic, index, rows),
            "dependence_reference": self.reference,
            "dependence_control": self._difference(synthetic, dealt, rows),
        }

    def _difference(self, tables: Named, index: Int64, rows: Int64) -> float | None:
        if not self.chosen:
            return None
        found = [self._value(pair, tables, index, rows) for pair in self.chosen]
        return float(np.mean(np.abs(np.array(found) - np.array(self.values))))

    def _value(
        self, pair: tuple[ContextColumn, ContextColumn], tables: Named, index: Int64, rows: Int64
    ) -> float:
        above, below = pair
        rows = rows[index[rows] >= 0]
        parents = above.codes(tables[self.parent][above.source])[index[rows]] if len(rows) else rows
        children = below.codes(tables[self.child][below.source])[rows] if len(rows) else rows
        return association(parents, above.width, children, below.width)


def _bins(name: str, table: pa.Table, train: np.ndarray) -> ContextColumn | None:
    return fit_context(name, "", name, table[name].take(pa.array(np.flatnonzero(train))))


def _counts(index: Int64, parents: int) -> Int64:
    return np.bincount(index[index >= 0], minlength=parents).astype(np.int64)


def _distance(one: Int64, other: Int64) -> float:
    """The largest difference of two distributions' cumulative shares, in [0, 1]."""
    if not len(one) or not len(other):
        return 1.0
    at = np.union1d(one, other)
    shares = [np.searchsorted(np.sort(counts), at, side="right") / len(counts) for counts in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())
