"""Bounded counts that grow block by block: of texts, of numbers, of the people that share a value."""

import bisect
from typing import Any

import numpy as np
import pyarrow as pa

from synthmill.data.columns import Bool, Int64, Numbers, UInt64
from synthmill.data.mixing import mix
from synthmill.data.people import NEIGHBOURS, outermost
from synthmill.data.scan.content import text_hashes

MOST_TEXTS = 1_000_000
"""Different texts of a column that are counted, beside those that a sample shows to be frequent; beyond them,
those of the least hashes, so that it does not matter in which order and how many parts they came."""
MOST_NUMBERS = 65_536
"""Different numbers beside those that a sample showed, from which on a column has many."""
_PENDING = 65_536
_LEAST = 65_536
"""Hashes from whose spread the number of different groups is told, to 0.4%."""


class TextTally:
    """How often each text occurs."""

    def __init__(self, frequent: pa.Array | None = None) -> None:
        """`frequent` are texts (F,) that are counted however many others there are."""
        self._frequent = np.zeros(0, np.uint64) if frequent is None else np.sort(text_hashes(frequent))
        self.hashes = np.zeros(0, dtype=np.uint64)
        """Ascending (D,)."""
        self.counts = np.zeros(0, dtype=np.int64)
        self.texts = pa.array([], pa.string())
        self.uncounted = 0
        self._pending: list[tuple[UInt64, Int64, pa.Array]] = []
        self._waiting = 0
        self._most = np.uint64(2**64 - 1)
        """Others with larger hashes are not counted."""

    def add(self, texts: pa.Array, counts: Int64) -> None:
        """So many more rows of each text (D,); a text may stand there twice."""
        hashes = text_hashes(texts)
        known = _found(self.hashes, hashes)
        np.add.at(self.counts, np.searchsorted(self.hashes, hashes[known]), counts[known])
        is_new = ~known & self._kept(hashes)
        self.uncounted += int(counts[~known & ~is_new].sum())
        new = np.flatnonzero(is_new)
        if not len(new):
            return
        self._pending.append((hashes[new], counts[new], texts.take(pa.array(new)).cast(pa.string())))
        self._waiting += len(new)
        if self._waiting > max(_PENDING, len(self.hashes) // 4):
            self.merge()

    def take_in(self, other: "TextTally") -> None:
        """Count what another tally of as frequent texts did, too."""
        other.merge()
        self._most = min(self._most, other._most)
        self.uncounted += other.uncounted
        self._pending.append((other.hashes, other.counts, other.texts))
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
        others = self.hashes[~_found(self._frequent, self.hashes)]
        if len(others) > MOST_TEXTS:
            self._most = min(self._most, others[MOST_TEXTS - 1])
        if not (kept := self._kept(self.hashes)).all():
            self.uncounted += int(self.counts[~kept].sum())
            self.hashes, self.counts = self.hashes[kept], self.counts[kept]
            self.texts = self.texts.take(pa.array(np.flatnonzero(kept)))

    def _kept(self, hashes: UInt64) -> Bool:
        """Which texts (N,) are counted, however many there are."""
        kept: Bool = (hashes <= self._most) | _found(self._frequent, hashes)
        return kept


class NumberTally:
    """How often each number occurs; whoever adds many different ones looks at how many there are."""

    def __init__(self, dtype: np.dtype) -> None:
        self.values: Numbers = np.zeros(0, dtype=dtype)
        self.counts = np.zeros(0, dtype=np.int64)

    def add(self, values: Numbers) -> None:
        """Numbers (N,), unsorted."""
        if len(values):
            self._take_in(*np.unique(values, return_counts=True))

    @property
    def is_large(self) -> bool:
        """Whether there are so many that not all can be counted."""
        return len(self.values) > MOST_NUMBERS

    def take_in(self, other: "NumberTally") -> None:
        """Count what another tally did, too."""
        self._take_in(other.values, other.counts)

    def _take_in(self, values: Numbers, counts: Int64) -> None:
        values = np.concatenate([self.values, values])
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

    def take_in(self, other: "Outermost") -> None:
        """Look at those that another found, too."""
        self._lowest.take_in(other._lowest)
        self._highest.take_in(other._highest)

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

    def take_in(self, other: "_Five") -> None:
        self.add(other.values, other._people if len(other._people) else None)

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
        self._take_in(keys, pairs)

    def take_in(self, other: "Sharers") -> None:
        """Count those that another found, too."""
        self._settled = np.union1d(self._settled, other._settled)
        here = ~_found(self._settled, self._keys)
        self._keys, self._pairs = self._keys[here], self._pairs[here]
        self._take_in(other._keys, other._pairs)

    def _take_in(self, keys: UInt64, pairs: UInt64) -> None:
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
        self._least: UInt64 = np.zeros(0, dtype=np.uint64)

    def add(self, hashes: UInt64) -> None:
        if len(self._least) == _LEAST:
            hashes = hashes[hashes < self._least[-1]]
        self._least = np.unique(np.concatenate([self._least, hashes]))[:_LEAST]

    def take_in(self, other: "Different") -> None:
        """Those of another, too."""
        self.add(other._least)

    @property
    def count(self) -> int:
        """Exact up to 65,536."""
        if len(self._least) < _LEAST:
            return len(self._least)
        return int((_LEAST - 1) / (float(self._least[-1]) * 2.0**-64))


class Ascending:
    """Whether the numbers of a column ascend from row to row, whatever order its blocks come in."""

    def __init__(self) -> None:
        self._is_so = True
        self._runs: list[tuple[int, int, Any, Any]] = []
        """Stretches of rows that were seen, in order: the first row, the one behind, the first number and the
        last; None where no row has one."""

    def add(self, first_row: int, next_row: int, values: Numbers) -> None:
        """The numbers of a block's rows (N,)."""
        if not self._is_so:
            return
        if (values[1:] <= values[:-1]).any():
            self._is_so = False
            return
        ends = (values[0], values[-1]) if len(values) else (None, None)
        self._insert((first_row, next_row, *ends))

    def take_in(self, other: "Ascending") -> None:
        """The rows that another saw, too."""
        self._is_so = self._is_so and other._is_so
        for run in other._runs:
            self._insert(run)

    def __bool__(self) -> bool:
        ends = [end for _, _, *both in self._runs for end in both if end is not None]
        # The first and the last of a run of one row are one.
        return self._is_so and all(one < other for one, other in zip(ends[1::2], ends[2::2], strict=False))

    def _insert(self, run: tuple[int, int, Any, Any]) -> None:
        at = bisect.bisect_left(self._runs, run[0], key=lambda one: one[0])
        self._runs.insert(at, run)
        # Blocks that follow each other become one; what lies between others may still come.
        for left in (at, at - 1):
            if 0 <= left < len(self._runs) - 1 and self._runs[left][1] == self._runs[left + 1][0]:
                self._join(left)

    def _join(self, left: int) -> None:
        (start, _, first, last), (_, stop, low, high) = self._runs[left : left + 2]
        if last is not None and low is not None and low <= last:
            self._is_so = False
        ends = (low if first is None else first, last if high is None else high)
        self._runs[left : left + 2] = [(start, stop, *ends)]


def _found(known: UInt64, asked: UInt64) -> Bool:
    """Which of `asked` (N,) are in `known`, ascending."""
    if not len(known):
        return np.zeros(len(asked), dtype=bool)
    at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    found: Bool = known[at] == asked
    return found
