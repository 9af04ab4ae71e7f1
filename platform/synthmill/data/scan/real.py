"""The sides of a source that training read in blocks, as evaluation sees them: a keyed sample of each, by the
split that was recorded."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from synthmill.config import DataConfig
from synthmill.data.scan.block import Block
from synthmill.data.scan.sample import KeyedSample
from synthmill.data.scan.scan import Scan, Terms, as_schema
from synthmill.data.scan.sides import HOLDOUT, TRAIN, VALIDATION, sides_of
from synthmill.data.split import Split, SplitTables, check_same_counts, check_same_source

SIDE_ROWS = 200_000
"""Of each side: what evaluation looks at where the source is larger."""


class _Samples:
    """A consumer that keeps a sample of each side."""

    def __init__(self, terms: Terms, config: DataConfig) -> None:
        self._common, self._split = terms.common, config.split
        self._samples = {
            side: KeyedSample(SIDE_ROWS, config.split.seed) for side in (TRAIN, VALIDATION, HOLDOUT)
        }
        self._counts = dict.fromkeys(self._samples, 0)

    def add(self, block: Block) -> None:
        rows = np.arange(block.first_row, block.first_row + block.table.num_rows)
        sides = sides_of(block.table, rows, self._common, self._split)
        for side, sample in self._samples.items():
            at = np.flatnonzero(sides == side)
            if len(at):
                self._counts[side] += len(at)
                sample.add(block.table.take(pa.array(at)), rows[at])

    def merge(self, other: "_Samples") -> None:
        """The rows of another, which began on these terms, too."""
        for side, sample in self._samples.items():
            self._counts[side] += other._counts[side]
            sample.merge(other._samples[side])

    def accepts(self, terms: Terms) -> bool:
        return True

    def counts(self) -> dict[str, int]:
        names = {TRAIN: "train", VALIDATION: "validation", HOLDOUT: "holdout"}
        return {name: self._counts[side] for side, name in names.items()}

    def tables(self, schema: pa.Schema) -> Mapping[int, pa.Table]:
        """Of each side, rows in the order of the source."""
        return {
            side: as_schema(sample.rows()[0], schema) if self._counts[side] else schema.empty_table()
            for side, sample in self._samples.items()
        }


def sample_sides(scan: Scan, config: DataConfig, split: Split) -> SplitTables:
    """Go over the source once, at constant memory.

    Raises:
        DataError: it is not the source that was split.
    """
    found = scan.settle(lambda terms: _Samples(terms, config))
    check_same_source(scan.uri, scan.sha256, split)
    check_same_counts(scan.uri, found.counts(), split)
    tables = found.tables(scan.schema)
    return SplitTables(tables[TRAIN], tables[VALIDATION], tables[HOLDOUT], split)
