"""A fair, seeded sample of a table of any length: the rows with the smallest keys, a key being a hash of seed and row number."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from synthmill.metrics._columns import Hashes, mix
from synthmill.metrics._view import PartView
from synthmill.metrics.base import Mergeable


@dataclass(frozen=True)
class Sampled:
    """Rows and their keys, uint64, ascending."""

    keys: Hashes
    table: pa.Table


class SampleRows(Mergeable[Sampled, pa.Table]):
    """`limit` rows (None: all), drawn without replacement; which ones depends on the seed and the row numbers alone."""

    def __init__(self, limit: int | None, seed: int) -> None:
        self.limit = limit
        self.seed = seed

    def partial(self, view: PartView) -> Sampled:
        keys = row_keys(view.first_row, view.num_rows, self.seed)
        return self._smallest(Sampled(keys, view.table))

    def merge(self, left: Sampled, right: Sampled) -> Sampled:
        return self._smallest(Sampled(np.concatenate([left.keys, right.keys]), pa.concat_tables([left.table, right.table])))

    def finish(self, state: Sampled) -> pa.Table:
        return state.table

    def _smallest(self, state: Sampled) -> Sampled:
        order = np.argsort(state.keys)
        kept = order if self.limit is None else order[: self.limit]
        return Sampled(state.keys[kept], state.table.take(kept))


def row_keys(first_row: int, num_rows: int, seed: int) -> Hashes:
    """uint64 (num_rows,): one pseudo-random key a row, the same wherever and in whatever parts the rows are read."""
    stream = mix(np.full(1, seed & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64))
    return mix(np.arange(first_row, first_row + num_rows, dtype=np.uint64) ^ stream)


def draw(table: pa.Table, limit: int | None, seed: int) -> pa.Table:
    """The same sample of a table that is in memory, in key order (a random permutation)."""
    order = np.argsort(row_keys(0, table.num_rows, seed))
    return table.take(order if limit is None else order[:limit])
