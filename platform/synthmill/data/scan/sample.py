"""A bounded sample of a stream of rows that follows from row numbers and a seed alone: the rows whose keyed
hash is least, whatever blocks they come in."""

import numpy as np
import pyarrow as pa

from synthmill.data.columns import Int64, UInt64, plain_table
from synthmill.data.mixing import mix

SAMPLE_ROWS = 300_000
"""From which types and forms are decided; some 200,000 of them are train rows, from which quantiles are."""
_KEY = 0x73616D706C65


def priorities(rows: Int64, seed: int) -> UInt64:
    """The order in which rows (numbers from 0, (N,)) enter a sample, the least first."""
    return mix(rows.astype(np.uint64), _KEY + seed)


class KeyedSample:
    """Collects the `size` rows of least priority. Not more than twice as many are held at a time."""

    def __init__(self, size: int, seed: int, of_rows: int | None = None) -> None:
        """`of_rows` is how many there will be, where that is known: nearly all that do not stay are passed
        over at once."""
        self.size, self.seed = size, seed
        self._least = np.uint64(2**64 - 1)
        # Of so many evenly spread hashes, the one at `size` is below this but for one time in 10**15.
        share = (size + 8 * size**0.5) / max(1, size, of_rows or 0)
        if share < 1:
            self._least = np.uint64(share * 2**64)
        self._parts: list[tuple[UInt64, Int64, pa.Table]] = []
        self._held = 0

    def add(self, table: pa.Table, rows: Int64) -> None:
        """Offer rows (N,) with their numbers."""
        order = priorities(rows, self.seed)
        keep = np.flatnonzero(order <= self._least)
        if not len(keep):
            return
        # A block's dictionary would be held with a few of its rows.
        self._parts.append((order[keep], rows[keep], plain_table(table.take(pa.array(keep)))))
        self._held += len(keep)
        if self._held > 2 * self.size:
            self._shrink()

    def merge(self, other: "KeyedSample") -> None:
        """Offer the rows that were offered to another sample of this size and seed, too."""
        self._parts += other._parts
        self._held += other._held
        self.pass_over(other._least)
        if self._held > 2 * self.size:
            self._shrink()

    @property
    def least(self) -> np.uint64:
        """Rows of a greater priority do not stay: what other samples of the same rows need not keep."""
        return self._least

    def pass_over(self, least: np.uint64) -> None:
        """Heed what another sample of the same rows knows not to stay."""
        self._least = min(self._least, least)

    def rows(self) -> tuple[pa.Table, Int64]:
        """The sample in the order of the source, and the numbers of its rows; at least one block must have
        been offered."""
        self._shrink()
        _, rows, table = self._parts[0]
        if (rows[1:] > rows[:-1]).all():
            return table, rows
        order = np.argsort(rows, kind="stable")
        return table.take(pa.array(order)), rows[order]

    def _shrink(self) -> None:
        order = np.concatenate([part[0] for part in self._parts])
        rows = np.concatenate([part[1] for part in self._parts])
        table = pa.concat_tables([part[2] for part in self._parts], promote_options="permissive")
        if len(order) > self.size:
            kept = np.sort(np.argpartition(order, self.size - 1)[: self.size])
            order, rows, table = order[kept], rows[kept], table.take(pa.array(kept))
            self._least = order.max()
        self._parts, self._held = [(order, rows, table.combine_chunks())], len(order)
