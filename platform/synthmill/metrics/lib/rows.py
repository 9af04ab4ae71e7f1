"""Which rows are equal, inside a table and with real rows: over every row, in bounded memory."""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from synthmill.metrics.base import Mergeable
from synthmill.metrics.lib.columns import Bools, Hashes, Ints
from synthmill.metrics.lib.view import PartView

# 4 MB of hashes and as much of counts, however many rows there are.
MAX_HASHES = 1 << 19


@dataclass(frozen=True)
class DistinctRows:
    """Row hashes whose lowest `level` bits are zero, with their counts (distinct sampling, Gibbons 2001)."""

    level: int
    hashes: Hashes
    counts: Ints
    rows: int


class CountDistinct(Mergeable[DistinctRows, DistinctRows]):
    """How often distinct rows occur: exact up to `limit` of them, beyond that for a fair sample."""

    def __init__(self, limit: int = MAX_HASHES) -> None:
        self.limit = limit

    def partial(self, view: PartView) -> DistinctRows:
        hashes, counts = np.unique(view.hashes, return_counts=True)
        return self._shrink(DistinctRows(0, hashes, counts, view.num_rows))

    def merge(self, left: DistinctRows, right: DistinctRows) -> DistinctRows:
        level = max(left.level, right.level)
        left, right = _at_level(left, level), _at_level(right, level)
        hashes, where = np.unique(np.concatenate([left.hashes, right.hashes]), return_inverse=True)
        counts = np.bincount(
            where, weights=np.concatenate([left.counts, right.counts]), minlength=len(hashes)
        ).astype(np.int64)
        return self._shrink(DistinctRows(level, hashes, counts, left.rows + right.rows))

    def _shrink(self, state: DistinctRows) -> DistinctRows:
        # Halved by one more bit of the hash: which rows stay does not depend on the order of the parts.
        while len(state.hashes) > self.limit:
            state = _at_level(state, state.level + 1)
        return state


def _at_level(state: DistinctRows, level: int) -> DistinctRows:
    if level == state.level:
        return state
    keep = (state.hashes & np.uint64((1 << level) - 1)) == 0
    return DistinctRows(level, state.hashes[keep], state.counts[keep], state.rows)


def duplicate_share(state: DistinctRows, at_rows: int) -> float:
    """Expected share of rows that repeat an earlier one among `at_rows` rows drawn without replacement
    (rarefaction).

    A larger table has more duplicates by chance alone, so tables are compared at one size. E[distinct] = sum
    over distinct rows of 1 - C(N - c, n) / C(N, n) (Hurlbert 1971).
    """
    if at_rows < 1:
        return 0.0
    assert at_rows <= state.rows, "a table can't be thinned to more rows than it has"
    times, how_many = np.unique(state.counts, return_counts=True)
    total, left_out = float(state.rows), state.rows - at_rows
    possible = times <= left_out
    log_absent = np.full(len(times), -np.inf)
    c = times[possible].astype(np.float64)
    # In logarithms of gamma functions: the binomials themselves overflow.
    log_absent[possible] = (
        gammaln(total - c + 1) - gammaln(left_out - c + 1) - gammaln(total + 1) + gammaln(left_out + 1.0)
    )
    # Each hash that is there stands for 2^level distinct rows.
    distinct = float((how_many * -np.expm1(log_absent)).sum()) * 2.0**state.level
    return float(np.clip(1.0 - distinct / at_rows, 0.0, 1.0))


@dataclass(frozen=True)
class RealRows:
    """Distinct rows of the real tables that occur once in all of them, by hash, sorted."""

    train: Hashes
    holdout: Hashes


@dataclass(frozen=True)
class MatchCounts:
    """Which single real rows occur among the synthetic ones, and how many synthetic rows they account for."""

    train: Bools
    holdout: Bools
    rows_in_train: int
    rows_in_holdout: int
    rows: int


class CountMatches(Mergeable[MatchCounts, MatchCounts]):
    """Exact copies: which real rows occur among the synthetic rows; size: one bit a real row."""

    def __init__(self, real: RealRows) -> None:
        self.real = real

    def partial(self, view: PartView) -> MatchCounts:
        train, in_train = _found(self.real.train, view.hashes)
        holdout, in_holdout = _found(self.real.holdout, view.hashes)
        return MatchCounts(train, holdout, in_train, in_holdout, view.num_rows)

    def merge(self, left: MatchCounts, right: MatchCounts) -> MatchCounts:
        return MatchCounts(
            left.train | right.train,
            left.holdout | right.holdout,
            left.rows_in_train + right.rows_in_train,
            left.rows_in_holdout + right.rows_in_holdout,
            left.rows + right.rows,
        )


def _found(known: Hashes, rows: Hashes) -> tuple[Bools, int]:
    if not len(known):
        return np.zeros(0, dtype=np.bool_), 0
    place = np.minimum(np.searchsorted(known, rows), len(known) - 1)
    hit = known[place] == rows
    matched = np.zeros(len(known), dtype=np.bool_)
    matched[place[hit]] = True
    return matched, int(np.count_nonzero(hit))


def single_rows(train: Hashes, holdout: Hashes) -> RealRows:
    """Rows that occur once in train and holdout together.

    A row that many people share says nothing about one of them, and a split that keeps equal rows together
    would put all of its copies on one side; rows that occur once fall to either side by chance alone, which
    is what the test needs.
    """
    both, counts = np.unique(np.concatenate([train, holdout]), return_counts=True)
    once = both[counts == 1]
    return RealRows(
        np.intersect1d(train, once, assume_unique=False), np.intersect1d(holdout, once, assume_unique=False)
    )
