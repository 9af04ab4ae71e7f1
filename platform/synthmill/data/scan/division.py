"""The sides of a scanned source: decided in the pass in which it settles, and kept as two bits a row."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthmill.config import DataConfig
from synthmill.data.scan.block import Block
from synthmill.data.scan.content import Hasher
from synthmill.data.scan.counts import Counts
from synthmill.data.scan.scan import Scan, Terms, as_schema
from synthmill.data.scan.sides import HOLDOUT, TRAIN, VALIDATION, Sides, check_counts, sides_of
from synthmill.data.split import Split, check_split

_PLACES = np.array([0, 2, 4, 6], dtype=np.uint8)


class Sorter:
    """A consumer that finds each row's side, and has the train rows counted."""

    def __init__(self, terms: Terms, config: DataConfig, counts: Counts | None = None) -> None:
        check_split(config.split, terms.schema.names)
        self._terms, self._config, self.counts = terms, config, counts
        self._hasher = Hasher()
        self._packed: list[tuple[int, npt.NDArray[np.uint8]]] = []
        self._counts = np.zeros(3, dtype=np.int64)

    def add(self, block: Block) -> None:
        rows = np.arange(block.first_row, block.first_row + block.table.num_rows)
        sides = sides_of(block.table, rows, self._terms.common, self._config.split, self._hasher)
        self._counts += np.bincount(sides, minlength=3)
        self._packed.append((len(sides), _pack(sides)))
        if self.counts is not None:
            self.counts.add(block, np.flatnonzero(sides == TRAIN))

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
        return Divided(scan, split, self._packed, sides)


@dataclass(frozen=True)
class Divided:
    """A settled scan and the side of each row."""

    scan: Scan
    split: Split
    packed: list[tuple[int, npt.NDArray[np.uint8]]]
    """Rows and sides of each block."""
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
        for block, (rows, packed) in zip(self.scan.blocks(), self.packed, strict=True):
            sides = _unpack(packed, rows)
            yield block.table.select(names).filter(pa.array(sides == side))


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
