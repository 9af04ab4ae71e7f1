"""Rows that are drawn and not kept: those that break a constraint which no construction meets, and those
whose unique columns hold what another row's do.

Which shard may have a row of unique columns follows from a hash of its values, so that shards need not know
of each other; within a shard the first row of each is kept. Whole blocks are looked at, so where a shard's
rows are cut into batches changes none of them.
"""

import numpy as np
import pyarrow as pa

from synthmill.data.codecs.base import Codec
from synthmill.data.columns import Bool, UInt64


class Once:
    """What the unique columns of one shard's rows hold so far; for a codec without any, nothing."""

    def __init__(self, codec: Codec, shard: int = 0, shards: int = 1) -> None:
        self._codec, self._shard, self._shards = codec, np.uint64(shard), np.uint64(shards)
        self._seen: list[set[int]] = [set() for _ in codec.unique]

    def mask(self, block: pa.Table, may: Bool) -> Bool:
        """Of a block's rows (N,) that may be kept, those that are: each of them is then seen."""
        keep = may.copy()
        found = self._codec.tuples(block)
        for (hashes, counts), seen in zip(found, self._seen, strict=True):
            at = np.flatnonzero(keep & counts)
            own = hashes[at]
            new = (own % self._shards == self._shard) & ~np.isin(own, _array(seen, own))
            _, first = np.unique(own[new], return_index=True)
            kept = np.flatnonzero(new)[first]
            keep[at] = False
            keep[at[kept]] = True
        for (hashes, counts), seen in zip(found, self._seen, strict=True):
            seen.update(hashes[keep & counts].tolist())
        return keep


def rejects(codec: Codec) -> bool:
    """Whether some of a codec's rows must be drawn again."""
    return bool(codec.checked or codec.unique)


def kept_rows(codec: Codec, table: pa.Table, once: Once | None, may: Bool, block_rows: int) -> Bool:
    """Rows (N,) of whole blocks that meet all constraints, of those that may be kept."""
    met = codec.accepts(table)
    keep = may if met is None else may & met
    if once is None or not codec.unique:
        return keep
    parts = [
        once.mask(table.slice(at, block_rows), keep[at : at + block_rows])
        for at in range(0, table.num_rows, block_rows)
    ]
    return np.concatenate([np.zeros(0, dtype=bool), *parts])


def subject(codec: Codec, where: str) -> str:
    """What rows were held against, for people."""
    stated = [one.text for one in (*codec.checked, *codec.unique)]
    return " and ".join([where] * bool(where) + stated)


def _array(seen: set[int], among: UInt64) -> UInt64:
    """Those of the seen ones that are asked about."""
    return np.array([one for one in among.tolist() if one in seen], dtype=np.uint64)
