"""Bounded counts that grow block by block: of texts, of numbers, of the people that share a value."""

import numpy as np
import pyarrow as pa

from synthmill.data.columns import Bool, Int64, Numbers, UInt64
from synthmill.data.mixing import mix
from synthmill.data.people import NEIGHBOURS, outermost
from synthmill.data.scan.content import text_hashes

MOST_TEXTS = 1_000_000
"""Different texts of a column that are counted; beyond them, those that were there by then."""
MOST_NUMBERS = 65_536
"""Different numbers beside those that a sample showed, from which on a column has many."""
_PENDING = 65_536
_LEAST = 65_536
"""Hashes from whose spread the number of different groups is told, to 0.4%."""


class TextTally:
    """How often each text occurs."""

    def __init__(self) -> None:
        self.hashes = np.zeros(0, dtype=np.uint64)
        """Ascending (D,)."""
        self.counts = np.zeros(0, dtype=np.int64)
        self.texts = pa.array([], pa.string())
        self.uncounted = 0
        self._pending: list[tuple[UInt64, Int64, pa.Array]] = []
        self._waiting = 0
        self._is_closed = False

    def add(self, texts: pa.Array, counts: Int64) -> None:
        """So many more rows of each text (D,); a text may stand there twice."""
        hashes = text_hashes(texts)
        known = _found(self.hashes, hashes)
        np.add.at(self.counts, np.searchsorted(self.hashes, hashes[known]), counts[known])
        new = np.flatnonzero(~known)
        if not len(new):
            return
        if self._is_closed:
            self.uncounted += int(counts[new].sum())
            return
        self._pending.append((hashes[new], counts[new], texts.take(pa.array(new)).cast(pa.string())))
        self._waiting += len(new)
        if self._waiting > max(_PENDING, len(self.hashes) // 4):
            self.merge()

    def merge(self) -> None:
        """Bring what waits into the tally; asked for before it is read."""
        hashes = np.concatenate([self.hashes, *(part[0] for part in self._pending)])
        counts = np.concatenate([self.counts, *(part[1] for part in self._pending)])
        texts = pa.concat_arrays([self.texts, *(part[2] for part in self._pending)])
        self._pending, self._waiting = [], 0
        self.hashes, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        self.counts = np.bincount(inverse.reshape(-1), weights=counts).astype(np.int64)
        self.texts = texts.take(pa.array(first))
        if len(self.hashes) > MOST_TEXTS:
            # What occurs once among so many is no category; what comes later is counted if it is known.
            self._is_closed = True
            keep = np.flatnonzero(self.counts > 1)[:MOST_TEXTS]
            self.uncounted += int(self.counts.sum() - self.counts[keep].sum())
            self.hashes, self.counts = self.hashes[keep], self.counts[keep]
            self.texts = self.texts.take(pa.array(keep))


class NumberTally:
    """How often each number occurs; whoever adds many different ones looks at how many there are."""

    def __init__(self, dtype: np.dtype) -> None:
        self.values: Numbers = np.zeros(0, dtype=dtype)
        self.counts = np.zeros(0, dtype=np.int64)

    def add(self, values: Numbers) -> None:
        """Numbers (N,), unsorted."""
        if not len(values):
            return
        new, counts = np.unique(values, return_counts=True)
        values = np.concatenate([self.values, new])
        counts = np.concatenate([self.counts, counts])
        self.values, inverse = np.unique(values, return_inverse=True)
        self.counts = np.bincount(inverse.reshape(-1), weights=counts).astype(np.int64)


class Outermost:
    """The five lowest and highest numbers, one of each person where people are told apart."""

    def __init__(self, dtype: np.dtype) -> None:
        self._lowest = _Five(dtype, lowest=True)
        self._highest = _Five(dtype, lowest=False)

    def add(self, values: Numbers, people: UInt64 | None) -> None:
        """Numbers (N,), and the hashes of whose they are (N,)."""
        self._lowest.add(values, people)
        self._highest.add(values, people)

    @property
    def lowest(self) -> Numbers:
        return self._lowest.values

    @property
    def highest(self) -> Numbers:
        return self._highest.values


class _Five:
    def __init__(self, dtype: np.dtype, *, lowest: bool) -> None:
        self.values: Numbers = np.zeros(0, dtype=dtype)
        self._people: UInt64 = np.zeros(0, dtype=np.uint64)
        self._is_low = lowest

    def add(self, values: Numbers, people: UInt64 | None) -> None:
        if not len(values):
            return
        if len(self.values) == NEIGHBOURS:
            bound = self.values.max() if self._is_low else self.values.min()
            # Few blocks have one that is further out: the outermost of a block tells.
            if values.min() >= bound if self._is_low else values.max() <= bound:
                return
            near = np.flatnonzero(values < bound if self._is_low else values > bound)
            values, people = values[near], None if people is None else people[near]
            if not len(values):
                return
        if people is None:
            both = np.concatenate([self.values, values])
            self.values = np.sort(outermost(both, None, lowest=self._is_low))
            return
        both, whose = np.concatenate([self.values, values]), np.concatenate([self._people, people])
        order = np.argsort(both, kind="stable")
        order = order if self._is_low else order[::-1]
        _, first = np.unique(whose[order], return_index=True)
        kept = order[np.sort(first)[:NEIGHBOURS]]
        self.values, self._people = both[kept], whose[kept]


class Sharers:
    """How many people have each value, as far as it matters: up to `need`."""

    def __init__(self, need: int) -> None:
        self._need = need
        self._settled = np.zeros(0, dtype=np.uint64)
        self._keys = np.zeros(0, dtype=np.uint64)
        self._pairs = np.zeros(0, dtype=np.uint64)

    def add(self, keys: UInt64, people: UInt64) -> None:
        """Rows (N,): hashes of their values and of whose they are."""
        with np.errstate(over="ignore"):
            pairs = mix(keys * np.uint64(0x9E3779B97F4A7C15) ^ people, 5)
        rest = ~_found(self._settled, keys)
        pairs, first = np.unique(np.concatenate([self._pairs, pairs[rest]]), return_index=True)
        keys = np.concatenate([self._keys, keys[rest]])[first]
        known, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        enough = counts >= self._need
        self._settled = np.union1d(self._settled, known[enough])
        left = ~enough[inverse.reshape(-1)]
        self._keys, self._pairs = keys[left], pairs[left]

    def of(self, keys: UInt64) -> Int64:
        """People of each value (D,), at most `need`."""
        known, counts = np.unique(self._keys, return_counts=True)
        at = np.searchsorted(known, keys)
        found = _found(known, keys)
        few = np.zeros(len(keys), dtype=np.int64)
        few[found] = counts[at[found]]
        return np.where(_found(self._settled, keys), self._need, few)


class Different:
    """About how many different hashes there were: the more there are, the smaller the least of them."""

    def __init__(self) -> None:
        self._least = np.zeros(0, dtype=np.uint64)

    def add(self, hashes: UInt64) -> None:
        if len(self._least) == _LEAST:
            hashes = hashes[hashes < self._least[-1]]
        self._least = np.unique(np.concatenate([self._least, hashes]))[:_LEAST]

    @property
    def count(self) -> int:
        """Exact up to 65,536."""
        if len(self._least) < _LEAST:
            return len(self._least)
        return int((_LEAST - 1) / (float(self._least[-1]) * 2.0**-64))


def _found(known: UInt64, asked: UInt64) -> Bool:
    """Which of `asked` (N,) are in `known`, ascending."""
    if not len(known):
        return np.zeros(len(asked), dtype=bool)
    at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    found: Bool = known[at] == asked
    return found
