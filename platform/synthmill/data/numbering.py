"""Numbers for new identifiers that no real one has, without keeping a real one: whole blocks, aligned to
powers of ten, in which the source has none."""

from collections.abc import Callable, Iterable

import numpy as np

from synthmill.config import FrozenModel
from synthmill.data.columns import Int64, UInt64

MOST_BLOCKS = 256
MOST_LISTED = 8_000_000
"""Real numbers that are held at a time."""
WANTED_PER_ROW = 10
"""Numbers looked for, for each real one: a data set is seldom published larger than that."""


class Numbering(FrozenModel):
    """Row number -> the number that its identifier is made of, different for different rows."""

    first: int = 1
    """Where rows count from when `blocks` are used up, or there are none."""
    blocks: tuple[int, ...] = ()
    """Beginnings of blocks of free numbers; rows fill one after the other."""
    block_size: int = 1

    def of(self, rows: UInt64) -> UInt64:
        """The numbers of global row numbers (N,)."""
        inside = np.uint64(len(self.blocks) * self.block_size)
        beyond = rows - np.minimum(rows, inside) + np.uint64(self.first)
        if not self.blocks:
            return rows + np.uint64(self.first)
        size = np.uint64(self.block_size)
        starts = np.asarray(self.blocks, dtype=np.uint64)
        within = np.minimum(rows // size, np.uint64(len(starts) - 1))
        return np.where(rows < inside, starts[within.astype(np.int64)] + rows % size, beyond)


def free_numbering(taken: Int64 | Callable[[], Iterable[Int64]], capacity: int) -> Numbering:
    """Numbers below `capacity` that none of `taken` (N,) equals, and beyond it once those are used up; of
    very many it is given in parts, which are gone over once or twice.

    Counters go on at the next power of ten (real ones end at 800: new ones begin at 1,000). Where that leaves
    too little room, as for telephone numbers, blocks between the real ones are used. Only multiples of a
    block's size are kept, which tell that a block is empty and no real number.
    """
    parts = taken if callable(taken) else lambda: [taken]
    count, highest = 0, -1
    for part in parts():
        part = part[(part >= 0) & (part < capacity)]
        count += len(part)
        highest = max(highest, int(part.max(initial=-1)))
    if not count:
        return Numbering()
    wanted = min(WANTED_PER_ROW * count, capacity // 2)
    above = 10 ** len(str(highest))
    if above + wanted < capacity:
        return Numbering(first=above)
    return _between(parts, count, wanted, capacity)


def _between(parts: Callable[[], Iterable[Int64]], count: int, wanted: int, capacity: int) -> Numbering:
    """Blocks between the real numbers, as large as leave room enough."""
    size = 10 ** (len(str(capacity)) - 1)
    while size > 1:
        size //= 10
        total = capacity // size
        if total <= count:
            # Larger blocks than one for each real number are hardly ever empty: not worth listing.
            continue
        occupied = _occupied(parts, count, size, capacity)
        free = total - int((occupied < total).sum())
        if free * size >= wanted or size == 1:
            return Numbering(
                first=capacity, blocks=_spread(occupied, total, min(free, MOST_BLOCKS), size), block_size=size
            )
    return Numbering(first=capacity)


def _occupied(parts: Callable[[], Iterable[Int64]], count: int, size: int, capacity: int) -> Int64:
    """The blocks with a real number in them, ascending."""
    blocks = (np.unique(part[(part >= 0) & (part < capacity)] // size) for part in parts())
    if count < MOST_LISTED:
        return np.unique(np.concatenate(list(blocks)))
    # A mark a block takes less room than the numbers of very many.
    marks = np.zeros(capacity // size + 1, dtype=bool)
    for block in blocks:
        marks[block] = True
    return np.flatnonzero(marks)


def _spread(occupied: Int64, total: int, count: int, size: int) -> tuple[int, ...]:
    """Beginnings of `count` empty blocks, spread evenly over all of them."""
    if count == 0:
        return ()
    # The k-th empty block lies as many places higher as there are occupied ones before it.
    ranks = np.unique(np.linspace(0, total - len(occupied[occupied < total]) - 1, count).astype(np.int64))
    before = np.searchsorted(occupied - np.arange(len(occupied)), ranks, side="right")
    return tuple(int(block) * size for block in ranks + before)
