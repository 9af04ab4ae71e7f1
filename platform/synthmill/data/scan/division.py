"""The sides of a scanned source: decided in the pass in which it settles, and kept as two bits a row."""

import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthmill.config import DataConfig
from synthmill.data.columns import Int64
from synthmill.data.scan.block import Block
from synthmill.data.scan.content import Hasher
from synthmill.data.scan.scan import Scan, Terms, as_schema
from synthmill.data.scan.sides import HOLDOUT, TRAIN, VALIDATION, Sides, check_counts, sides_of
from synthmill.data.split import Split, check_split

_PLACES = np.array([0, 2, 4, 6], dtype=np.uint8)


class Counter(Protocol):
    """Counts the train rows."""

    def add(self, block: Block, at: Int64) -> None: ...
    def merge(self, other: Self) -> None: ...
    def covers(self, sample: pa.Table) -> bool: ...


C = TypeVar("C", bound=Counter)


class Sorter(Generic[C]):
    """A consumer that finds each row's side, and has the train rows counted."""

    def __init__(self, terms: Terms, config: DataConfig, counts: C | None = None) -> None:
        check_split(config.split, terms.schema.names)
        self._common, self._config, self.counts = terms.common, config, counts
        self._hasher = Hasher()
        self._sides = RowSides()
        self._counts = np.zeros(3, dtype=np.int64)

    def add(self, block: Block) -> None:
        rows = np.arange(block.first_row, block.first_row + block.table.num_rows)
        sides = sides_of(block.table, rows, self._common, self._config.split, self._hasher)
        self._counts += np.bincount(sides, minlength=3)
        self._sides.add(block.first_row, sides)
        if self.counts is not None:
            self.counts.add(block, np.flatnonzero(sides == TRAIN))

    def merge(self, other: "Sorter[C]") -> None:
        """The rows of another sorter, which began on these terms, too."""
        self._counts += other._counts
        self._sides.merge(other._sides)
        if self.counts is not None:
            assert other.counts is not None, "both count"
            self.counts.merge(other.counts)

    def accepts(self, terms: Terms) -> bool:
        return self.counts is None or self.counts.covers(terms.sample)

    def divided(self, scan: Scan) -> "Divided":
        """What was found, for the settled scan."""
        counts = [int(count) for count in self._counts]
        check_counts(counts)
        config = self._config.split
        split = Split(
            rule="content-hash/1",
            seed=config.seed,
            group=config.group,
            validation=config.validation,
            holdout=config.holdout,
            counts={"train": counts[TRAIN], "validation": counts[VALIDATION], "holdout": counts[HOLDOUT]},
            source_sha256=scan.sha256,
        )
        sides = sides_of(scan.sample, scan.sample_rows, scan.common, config)
        return Divided(scan, split, self._sides, sides)


@dataclass(frozen=True)
class Divided:
    """A settled scan and the side of each row."""

    scan: Scan
    split: Split
    sides: "RowSides"
    sample_sides: Sides

    @property
    def train_sample(self) -> pa.Table:
        """The train rows of the keyed sample."""
        return self.scan.sample.filter(pa.array(self.sample_sides == TRAIN))

    @property
    def validation_sample(self) -> pa.Table:
        """The validation rows of the keyed sample."""
        return self.scan.sample.filter(pa.array(self.sample_sides == VALIDATION))

    def column(self, name: str) -> Iterator[pa.Array]:
        """A column of all rows, whichever side they are on."""
        return self.scan.column(name)

    def tables(self, side: int = TRAIN) -> Iterator[pa.Table]:
        """All rows of a side in the order of the source, block by block, as the scan's schema says.

        Raises:
            DataError: the source is not what it was.
        """
        for table in self.coded(self.scan.schema.names, side):
            yield as_schema(table, self.scan.schema)

    def coded(self, names: list[str], side: int = TRAIN) -> Iterator[pa.Table]:
        """As `tables`, some columns alone, whose text is still dictionary-encoded: each different text of a
        block is looked at once."""
        for block in self.scan.blocks():
            sides = self.sides.of(block.first_row, block.table.num_rows)
            yield block.table.select(names).filter(pa.array(sides == side))


class RowSides:
    """The side of each row of a source, two bits a row."""

    def __init__(self) -> None:
        self._pieces: list[tuple[int, int, npt.NDArray[np.uint8]]] = []
        """First row, rows and sides of stretches, in order."""

    def add(self, first_row: int, sides: Sides) -> None:
        """Those of rows that follow each other (N,)."""
        bisect.insort(self._pieces, (first_row, len(sides), _pack(sides)), key=_first_row)

    def merge(self, other: "RowSides") -> None:
        """Those of other rows."""
        self._pieces = sorted([*self._pieces, *other._pieces], key=_first_row)

    def of(self, first_row: int, rows: int) -> Sides:
        """The sides (N,) of so many rows, all of which were added."""
        found, row = [np.zeros(0, dtype=np.int8)], first_row
        at = bisect.bisect_right(self._pieces, first_row, key=_first_row) - 1
        while row < first_row + rows:
            start, size, packed = self._pieces[at]
            assert start <= row <= start + size, f"row {row} was added"
            found.append(_unpack(packed, size)[row - start : first_row + rows - start])
            row, at = start + size, at + 1
        return np.concatenate(found)


def _first_row(piece: tuple[int, int, Any]) -> int:
    return piece[0]


def _pack(sides: Sides) -> npt.NDArray[np.uint8]:
    padded = np.zeros(-(-len(sides) // 4) * 4, dtype=np.uint8)
    padded[: len(sides)] = sides
    four = padded.reshape(-1, 4)
    packed: npt.NDArray[np.uint8] = four[:, 0].copy()
    for place in range(1, 4):
        packed |= four[:, place] << _PLACES[place]
    return packed


def _unpack(packed: npt.NDArray[np.uint8], rows: int) -> Sides:
    sides: Sides = ((packed[:, None] >> _PLACES) & 3).reshape(-1)[:rows].view(np.int8)
    return sides
