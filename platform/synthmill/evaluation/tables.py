"""What is compared, as Arrow tables of any kind of data, and tables that are read part by part."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa

from synthmill.metrics.base import Part
from synthmill.metrics.lib.sequences import SequenceColumns

if TYPE_CHECKING:
    from synthmill.data.codecs.base import Codec
    from synthmill.data.profile import TableProfile

# Bounds the memory of a task.
PART_ROWS = 131_072
# Each task returns a state with a sample of its own: a bound on what the driver merges.
MAX_TASKS = 32

Synthetic: TypeAlias = pa.Table | Sequence[Part] | Iterable[pa.Table]


@dataclass(frozen=True)
class Tables:
    """What is compared. `synthetic`: a table, a sequence of parts, or an iterator of tables."""

    train: pa.Table
    validation: pa.Table | None
    holdout: pa.Table | None
    synthetic: Synthetic
    kinds: "Mapping[str, str] | TableProfile" = field(default_factory=dict)
    """Column -> kind, as a mapping or as a profile; what is not named follows from the Arrow types."""
    group: str | None = None
    """Column whose equal values are on one side of the split (`data.split.group`)."""
    sequence: SequenceColumns | None = None
    """Which columns make sequences of the rows; None: rows stand for themselves."""
    levels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Column -> the only categories it can have, where somebody declared them."""
    asked: str = ""
    """The condition that was requested, in words; the real rows here are then those that meet it."""
    whole: "Tables | None" = None
    """All real rows, where those above were chosen by a condition: lift adds rows to these."""
    codec: "Codec | None" = None
    """What the generator was fitted with, where there is one; data from elsewhere has none."""
    kept_rare: str | None = None
    """The target, where its rare classes were kept on purpose (`data.rare_target: keep`)."""
    unreadable: Mapping[str, int] = field(default_factory=dict)
    """Column -> synthetic cells that do not read as its type and are missing here."""
    notes: tuple[str, ...] = ()
    """What the report should say about how these tables came about."""


@dataclass(frozen=True)
class SlicePart:
    """A part of a table that is in memory."""

    table: pa.Table
    first_row: int

    def load(self) -> pa.Table:
        """Its rows."""
        return self.table


def parts_of(table: pa.Table) -> list[Part]:
    """A table in memory as parts of bounded size; at least one, so that its columns are looked at."""
    starts = range(0, max(1, table.num_rows), PART_ROWS)
    return [SlicePart(table.slice(at, PART_ROWS), at) for at in starts]


def numbered(tables: Iterable[pa.Table]) -> Iterator[SlicePart]:
    """Tables that come one after the other, each with the number of its first row."""
    # Row numbers decide who is sampled, so they must not depend on how the rows come.
    first_row = 0
    for table in tables:
        yield SlicePart(table, first_row)
        first_row += table.num_rows


def groups_of(parts: Sequence[Part]) -> list[list[Part]]:
    """Parts for at most MAX_TASKS tasks, in order."""
    count = min(len(parts), MAX_TASKS)
    # Consecutive parts, because states are merged in row order.
    bounds = [len(parts) * i // count for i in range(count + 1)] if count else [0]
    return [list(parts[a:b]) for a, b in pairwise(bounds)]


def has_rows(table: pa.Table | None) -> bool:
    """Whether a side is there at all."""
    return table is not None and table.num_rows > 0
