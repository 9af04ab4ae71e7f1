"""What metrics of sequences read: whole sequences of both sides, a seeded sample of them, as runs of rows.

Legend: N rows, G sequences.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from synthmill.data.sequences.order import Runs, runs_of
from synthmill.metrics.base import Mergeable
from synthmill.metrics.lib.binning import Plan
from synthmill.metrics.lib.columns import Column, Floats, Hashes, Ints, floats, mix, text_hashes, texts
from synthmill.metrics.lib.view import PartView

if TYPE_CHECKING:
    from synthmill.metrics.lib.table_evidence import TableEvidence

MOST_SEQUENCES = 2_000
MIN_SEQUENCES = 20
LAGS = (1, 2, 3, 5)
LEAST_MEMORY = 0.05
"""Of real rows: below it what sampling adds is as large as what could be lost."""
TOO_FEW = f"fewer than {MIN_SEQUENCES} sequences a side say nothing; generate more"


@dataclass(frozen=True)
class SequenceColumns:
    """Which columns tell sequences apart, and which orders their rows; None: they are in order."""

    keys: tuple[str, ...]
    order: str | None


@dataclass(frozen=True)
class Kept:
    """Rows of some sequences, and the hash of each row's key, uint64 (N,)."""

    hashes: Hashes
    table: pa.Table


class SampleSequences(Mergeable[Kept, pa.Table]):
    """All rows of at most `MOST_SEQUENCES` sequences: those whose keys have the smallest hashes, so that a
    sequence whose rows lie in several parts is kept by all of them or by none."""

    def __init__(self, columns: SequenceColumns, seed: int) -> None:
        self.columns = columns
        self.seed = seed

    def partial(self, view: PartView) -> Kept:
        stream = mix(np.full(1, self.seed & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64))
        hashes = np.repeat(stream, view.num_rows)
        for name in self.columns.keys:
            codes, distinct = texts(view.column(name))
            # A row without a key is of the sequence of those without one.
            hashes = mix(hashes ^ np.append(text_hashes(distinct), np.uint64(0))[codes])
        return self._smallest(Kept(hashes, view.table))

    def merge(self, left: Kept, right: Kept) -> Kept:
        tables = pa.concat_tables([left.table, right.table])
        return self._smallest(Kept(np.concatenate([left.hashes, right.hashes]), tables))

    def finish(self, state: Kept) -> pa.Table:
        return state.table

    def _smallest(self, state: Kept) -> Kept:
        distinct = np.unique(state.hashes)
        if len(distinct) <= MOST_SEQUENCES:
            return state
        rows = np.flatnonzero(state.hashes <= distinct[MOST_SEQUENCES - 1])
        return Kept(state.hashes[rows], state.table.take(rows))


class Sequences:
    """The sequences of one side, their rows one after the other."""

    def __init__(self, table: pa.Table, columns: SequenceColumns, plan: Plan) -> None:
        needed = [*columns.keys, *([] if columns.order is None else [columns.order])]
        table = table.filter(np.logical_and.reduce([table[name].is_valid().to_numpy() for name in needed]))
        self.runs: Runs = runs_of(table, columns.keys, columns.order)
        self.table = table.take(self.runs.rows)
        self.order = columns.order
        self._view = PartView(self.table, plan)

    def __len__(self) -> int:
        return len(self.runs.starts)

    @property
    def lengths(self) -> Ints:
        """(G,)"""
        return self.runs.lengths

    @cached_property
    def gaps(self) -> Floats:
        """By how much rows come after the one before, first rows left out."""
        assert self.order is not None
        # From the earliest: numbers of nanoseconds since 1970 lose their last digits as floats.
        column = self.table[self.order]
        if pa.types.is_temporal(column.type):
            wide = np.asarray(column.cast(pa.int32() if column.type.bit_width == 32 else pa.int64()))
            steps = np.diff(wide).astype(np.float64)
        else:
            steps = np.diff(floats(column))
        return np.asarray(steps[self.runs.position[1:] > 0])

    def numbers(self, name: str) -> Floats:
        """A numeric column, (N,)."""
        return self._view.floats(name)

    def codes(self, name: str) -> Ints:
        """The levels of a column of categories, int64 (N,)."""
        return self._view.coarse(name)

    def pairs(self, lag: int) -> tuple[Ints, Ints]:
        """Places of rows, and of those so many rows later in the same sequence."""
        later = np.flatnonzero(self.runs.position >= lag)
        return later - lag, later


@dataclass(frozen=True)
class SequenceSides:
    """The sequences of each side; `holdout` where there is one."""

    train: Sequences
    holdout: Sequences | None
    synthetic: Sequences

    @property
    def n(self) -> dict[str, int]:
        """Sequences a side."""
        sides = {"train": self.train, "holdout": self.holdout, "synthetic": self.synthetic}
        return {name: len(side) for name, side in sides.items() if side is not None}

    @property
    def fewest(self) -> int:
        """Of the two sides that are compared."""
        return min(len(self.train), len(self.synthetic))

    @property
    def reference(self) -> Sequences | None:
        """Holdout sequences, if they are enough to say what two real sides differ by."""
        return self.holdout if self.holdout is not None and len(self.holdout) >= MIN_SEQUENCES else None


def sides_of(evidence: "TableEvidence") -> SequenceSides:
    """The sequences of all sides; `evidence.once(sides_of)` makes them once."""
    real, columns = evidence.real, evidence.real.sequence
    assert columns is not None
    assert evidence.totals.sequences is not None

    def side(table: pa.Table, *, is_sampled: bool = False) -> Sequences:
        if not is_sampled:
            sample = SampleSequences(columns, evidence.settings.seed)
            table = sample.finish(sample.partial(PartView(table, real.plan)))
        return Sequences(table, columns, real.plan)

    holdout = None if real.holdout is None else side(real.holdout)
    return SequenceSides(side(real.train), holdout, side(evidence.totals.sequences, is_sampled=True))


def moving_columns(evidence: "TableEvidence", sides: SequenceSides, role: str) -> list[Column]:
    """Columns of a role that change within training sequences."""
    columns = evidence.real.sequence
    assert columns is not None
    first, second = sides.train.pairs(1)
    found = []
    for column in evidence.real.columns:
        if column.role != role or column.name in columns.keys or column.name == columns.order:
            continue
        values = sides.train.numbers(column.name) if role == "numeric" else sides.train.codes(column.name)
        if (values[first] != values[second]).any():
            found.append(column)
    return found


def lost_share(value: float, reference: float | None, strength: float) -> float:
    """The share of the dependence on earlier rows that is lost: 0 as real ones, about 1 as rows that know
    nothing of those before. All three figures hold what sampling adds, of which `reference` is all. 0 where
    real rows have no dependence to lose."""
    noise = reference or 0.0
    there = strength - noise
    return max(0.0, value - noise) / there if there >= LEAST_MEMORY else 0.0


def largest_distance(left: Floats | Ints, right: Floats | Ints) -> float:
    """The largest difference of two distribution functions (Kolmogorov and Smirnov); 1 if one is empty."""
    if not len(left) or not len(right):
        return float(len(left) != len(right))
    at = np.unique(np.concatenate([left, right]))
    shares = [np.searchsorted(np.sort(side), at, side="right") / len(side) for side in (left, right)]
    return float(np.abs(shares[0] - shares[1]).max())
