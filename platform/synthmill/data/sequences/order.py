"""Rows of a table as sequences: which rows belong together, and in which order they are."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from synthmill.data.columns import Int64, Numbers, flat, is_integral, to_float64, to_int64


@dataclass(frozen=True)
class Runs:
    """The rows of all sequences, one sequence after the other. Legend: N rows, G sequences."""

    rows: Int64
    """(N,): the row of the table that stands at each place."""
    starts: Int64
    """(G,): the places at which sequences begin; sequences are in order of their first row in the table."""

    @property
    def lengths(self) -> Int64:
        """(G,)"""
        return np.diff(np.append(self.starts, len(self.rows)))

    @property
    def sequence(self) -> Int64:
        """(N,): the number of the sequence at each place."""
        return np.repeat(np.arange(len(self.starts)), self.lengths)

    @property
    def position(self) -> Int64:
        """(N,): how many rows of the sequence come before."""
        return np.arange(len(self.rows)) - np.repeat(self.starts, self.lengths)


def runs_of(table: pa.Table, keys: tuple[str, ...], order: str | None) -> Runs:
    """The sequences of a table without missing cells in these columns. Rows that `order` does not tell apart,
    and all rows without it, stay as they are in the table."""
    ids = key_ids(table, keys)
    by = [ids] if order is None else [order_numbers(table[order]), ids]
    rows = np.lexsort(by)
    ordered = ids[rows]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1)) if len(ordered) else np.zeros(0, np.int64)
    return Runs(rows, starts)


def key_ids(table: pa.Table, keys: tuple[str, ...]) -> Int64:
    """A number for each row's key, in order of the keys' first rows, (N,)."""
    ids = np.zeros(table.num_rows, dtype=np.int64)
    for name in keys:
        codes = flat(table[name]).dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
        # Dense again after each column, or the product of several would outgrow 64 bits.
        _, ids = np.unique(ids * (int(codes.max(initial=0)) + 1) + codes, return_inverse=True)
    _, first, inverse = np.unique(ids.reshape(-1), return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.reshape(-1)]


def order_numbers(column: pa.ChunkedArray | pa.Array) -> Numbers:
    """What orders rows, as int64 or float64 (N,): dates and times in their own unit, decimals unscaled."""
    array = flat(column)
    return to_int64(array) if is_integral(array.type) else to_float64(array)
