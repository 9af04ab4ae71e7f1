"""A fair, seeded sample of a table of any length: those with the smallest hashes of seed and row number."""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from synthmill.metrics.base import Mergeable
from synthmill.metrics.lib.columns import Hashes, mix
from synthmill.metrics.lib.view import PartView


@dataclass(frozen=True)
class Sampled:
    """Rows and their keys, uint64, ascending."""

    keys: Hashes
    table: pa.Table


class SampleRows(Mergeable[Sampled, pa.Table]):
    """`limit` rows (None: all), drawn without replacement; which ones depends on the seed and the row numbers
    alone.

    `known_rows`: the table has at least so many rows, so a part retains only keys below a bound that
    far more than `limit` of them (by 8 standard deviations) lie under; memory is then that of one sample, not
    one a part.
    """

    def __init__(self, limit: int | None, seed: int, known_rows: int = 0) -> None:
        self.limit = limit
        self.seed = seed
        # 8 standard deviations: too few rows below the bound are then out of the question.
        needed = 0.0 if limit is None else limit + 8 * math.sqrt(limit) + 32
        # Every part would otherwise retain a whole sample, as it can't know how small its keys are among all.
        self.bound = None if limit is None or needed >= known_rows else np.uint64(needed / known_rows * 2**64)

    def partial(self, view: PartView) -> Sampled:
        keys = row_keys(view.first_row, view.num_rows, self.seed)
        if self.bound is None:
            return self._smallest(Sampled(keys, view.table))
        low = np.flatnonzero(keys < self.bound)
        return self._smallest(Sampled(keys[low], view.table.take(low)))

    def merge(self, left: Sampled, right: Sampled) -> Sampled:
        return self._smallest(
            Sampled(np.concatenate([left.keys, right.keys]), pa.concat_tables([left.table, right.table]))
        )

    def finish(self, state: Sampled) -> pa.Table:
        return state.table

    def _smallest(self, state: Sampled) -> Sampled:
        order = np.argsort(state.keys)
        order = order if self.limit is None else order[: self.limit]
        return Sampled(state.keys[order], state.table.take(order))


def row_keys(first_row: int, num_rows: int, seed: int) -> Hashes:
    """uint64 (num_rows,): one pseudo-random key a row, the same in whatever parts the rows are read."""
    # Seed and row number are both mixed: neighbouring seeds would else give shifted samples.
    stream = mix(np.full(1, seed & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64))
    return mix(np.arange(first_row, first_row + num_rows, dtype=np.uint64) ^ stream)


def draw(table: pa.Table, limit: int | None, seed: int) -> pa.Table:
    """The same sample of a table that is in memory, in key order (a random permutation)."""
    order = np.argsort(row_keys(0, table.num_rows, seed))
    return table.take(order if limit is None else order[:limit])
