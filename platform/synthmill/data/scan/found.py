"""What one pass finds in rows of a source: the same however they are divided, and in whatever order what is
found in their parts is merged."""

from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import pyarrow as pa

from synthmill.data.columns import Bool, Int64, is_text
from synthmill.data.scan.block import Block, typed
from synthmill.data.scan.plan import ColumnPlan
from synthmill.data.scan.raw import Cut, Raw, Seen
from synthmill.data.scan.sample import KeyedSample

ODD_ROWS = 1_000
"""Rows with cells that do not fit of which each column's plan is told: the first ones."""


class Part(Protocol):
    """What goes over the rows of a part once."""

    def add(self, block: Block) -> None: ...

    def merge(self, other: Self) -> None:
        """Go over the rows of another one, too, which began alike and is not used again."""


C = TypeVar("C", bound=Part)


class Found(Generic[C]):
    """Begins empty; whoever goes over a part fills a copy of it."""

    def __init__(self, columns: tuple[ColumnPlan, ...], sample: KeyedSample, consumer: C) -> None:
        self.columns, self.sample, self.consumer = columns, sample, consumer
        self.rows = 0
        self.levels: list[tuple[int, Seen]] = []
        """First rows of parts, and the levels that their columns of categories have."""
        self._odd: dict[str, Int64] = {}
        """Of each column the first rows with a cell that does not fit."""
        self._held: list[tuple[pa.Table, Int64]] = []
        """Rows with such cells as written, those of `_odd` among them, and their numbers."""
        self.counts = True
        """Whether the consumer is given rows: once a cell did not fit, it would begin anew."""

    def add(self, raw: pa.Table, first_row: int) -> None:
        """Rows that follow each other, as written."""
        numbers = np.arange(first_row, first_row + raw.num_rows)
        self.rows += raw.num_rows
        self.sample.add(raw, numbers)
        block, odd = typed(self.columns, raw, first_row)
        if odd:
            self.counts = False
            self._note({name: numbers[places] for name, places in odd.items()})
            self._hold(raw, numbers)
        if self.counts:
            self.consumer.add(block)

    def add_cut(self, cut: Cut) -> None:
        """Rows that can be read alone.

        Raises:
            DataError: as `Cut.blocks`.
        """
        levels: Seen = {}
        row = cut.first_row
        for block in cut.blocks(levels):
            self.add(block, row)
            row += block.num_rows
        self.levels.append((cut.first_row, levels))

    def merge(self, other: "Found[C]") -> None:
        """What was found in other rows, too; `other` is not to be used again."""
        self.rows += other.rows
        self.levels += other.levels
        self.sample.merge(other.sample)
        self._note(other._odd)
        for rows, numbers in other._held:
            self._hold(rows, numbers)
        self.counts = self.counts and other.counts
        if self.counts:
            self.consumer.merge(other.consumer)

    def odd_rows(self) -> tuple[pa.Table, Int64] | None:
        """Rows with cells that do not fit, of each column the first ones, in order, and their numbers; None:
        all cells fit."""
        if not self._held:
            return None
        table = pa.concat_tables([table for table, _ in self._held])
        numbers = np.concatenate([rows for _, rows in self._held])
        wanted = pa.array(np.argsort(numbers, kind="stable"))
        wanted = wanted.filter(pa.array(self._is_told(numbers[wanted.to_numpy()])))
        return table.take(wanted), numbers[wanted.to_numpy()]

    def _hold(self, rows: pa.Table, numbers: Int64) -> None:
        # A source full of odd cells has no more of its rows held than are told.
        told = self._is_told(numbers)
        if told.any():
            self._held.append((_plain(rows.filter(pa.array(told))), numbers[told]))

    def _is_told(self, numbers: Int64) -> Bool:
        told: Bool = np.isin(numbers, np.concatenate(list(self._odd.values())))
        return told

    def _note(self, odd: dict[str, Int64]) -> None:
        for name, rows in odd.items():
            both = np.concatenate([self._odd.get(name, rows[:0]), rows])
            self._odd[name] = np.sort(both)[:ODD_ROWS]


class Runner(Protocol):
    """Goes over a source for one pass."""

    def __call__(self, found: Found[C], raw: Raw) -> None:
        """Add all rows to what was found so far, which is nothing.

        Raises:
            DataError: as `Raw.blocks`, of the first rows that are at fault.
        """


def in_turn(found: Found[C], raw: Raw) -> None:
    """Block by block, in this process."""
    for block in raw.blocks():
        found.add(block, found.rows)


def _plain(table: pa.Table) -> pa.Table:
    columns = [
        column.cast(column.type.value_type)
        if pa.types.is_dictionary(column.type) and is_text(column.type.value_type)
        else column
        for column in table.columns
    ]
    return pa.table(columns, names=table.column_names)
