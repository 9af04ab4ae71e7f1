"""What the profile of a scanned column of numbers follows from, counted over its train rows block by block.

Few different numbers, and whole ones that lie close together, are all counted. Of others those are that a
sample shows to be frequent, those that stand apart, and the five outermost.
"""

from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from synthmill.data.bounds import familiar_steps, fewest_decimals
from synthmill.data.columns import Bool, Int64, Numbers, UInt64, is_integral, to_int64
from synthmill.data.facts import NumberFacts, facts_of_counts, numbers, stated_bounds
from synthmill.data.identifiers import looks_like_keys
from synthmill.data.mixing import mix
from synthmill.data.people import NEIGHBOURS
from synthmill.data.scan.tally import (
    Ascending,
    NumberTally,
    Outermost,
    Sharers,
)
from synthmill.data.schema import ColumnRule
from synthmill.data.sentinels import apart, frame_of

WIDEST = 1 << 20
"""Whole numbers that lie so close together are counted one by one."""
FEW = 4_096
CANDIDATE_SHARE = 0.4
"""A number whose share of all rows makes it a point has more than so much of that share in a sample."""
CANDIDATE_ROWS = 20


class Span(NamedTuple):
    """A block as a column's counter sees it."""

    first_row: int
    """Of the source."""
    next_row: int
    """Of the source, behind the block."""
    missing: int
    """Train rows without a value."""


class NumberCounter(Protocol):
    """Counts the train rows of a column of numbers."""

    def add(self, values: Numbers, span: Span, people: UInt64 | None) -> "NumberCounter":
        """Values (N,) of a block, where they come from, and hashes of whose they are (N,); the counter that
        goes on."""

    def merged(self, other: "NumberCounter") -> "NumberCounter":
        """The counter of the rows of both, which began alike."""

    def covers(self, sample: Numbers) -> bool:
        """Whether what is frequent in a sample was counted."""

    def facts(self, sample: Numbers, min_rows: int, *, is_grouped: bool) -> NumberFacts:
        """`sample` are the numbers of sampled train rows; people count where `is_grouped`."""


def number_counter(
    name: str, kind: pa.DataType, rule: ColumnRule, sample: pa.Array, need: int, point_share: float
) -> NumberCounter:
    """The counter that suits the values of a sample (N,); `point_share` of all rows make a number a point."""
    values, valid = numbers(sample)
    values = values[valid]
    distinct = _distinct(values)
    frame = frame_of(distinct, kind)
    # Dates that stand for none would make any window too wide.
    window = _window(values if frame is None else values[~frame.outside(values)])
    frequent = frequent_of(values, point_share)
    wide = ManyNumbers(name, kind, rule, distinct, frequent, need, point_share)
    if window is not None or (
        len(distinct) <= FEW and (8 * len(distinct) <= len(values) or len(values) < FEW)
    ):
        return AllNumbers(name, kind, rule, window or (0, 0), distinct, wide)
    return wide


def present(array: pa.Array, at: Int64) -> tuple[Numbers, Bool | None]:
    """The numbers at these places (N,) that are there, and where they are; None: all."""
    if array.null_count == 0 and is_integral(array.type):
        return to_int64(array).take(at), None
    values, valid = numbers(array)
    values, valid = values.take(at), valid.take(at)
    return (values, None) if valid.all() else (values[valid], valid)


class _Numbers:
    """What both counters keep."""

    def __init__(
        self,
        name: str,
        kind: pa.DataType,
        rule: ColumnRule,
        sample: Numbers,
        need: int,
        point_share: float,
    ) -> None:
        self._need, self._point_share = need, point_share
        self._name, self._kind, self._rule = name, kind, rule
        self._frame = frame_of(sample, kind)
        self._outer, self._sharers = Outermost(sample.dtype), Sharers(need)
        self._rows = self._missing = 0
        self._in_order, self._bounds = Ascending(), stated_bounds(name, rule, kind)

    def _note(self, values: Numbers, span: Span) -> None:
        """Count rows, and see whether values still ascend."""
        self._rows += len(values) + span.missing
        self._missing += span.missing
        self._in_order.add(span.first_row, span.next_row, values)

    def _take_in(self, other: "_Numbers") -> None:
        self._rows += other._rows
        self._missing += other._missing
        self._in_order.take_in(other._in_order)
        self._outer.take_in(other._outer)
        self._sharers.take_in(other._sharers)

    def _clipped(self, values: Numbers) -> Numbers:
        low, high = self._bounds
        return values if low is None and high is None else np.clip(values, low, high)

    def _apart(self, values: Numbers) -> Bool:
        """Which values (N,) may stand apart from the others."""
        if values.dtype == np.float64:
            found: Bool = np.isinf(values)
            return found
        return np.zeros(len(values), dtype=bool) if self._frame is None else self._frame.outside(values)

    def _any_apart(self, values: Numbers) -> bool:
        """Whether one of at least one value may: the outermost tell."""
        return bool(self._apart(np.array([values.min(), values.max()])).any())


class AllNumbers(_Numbers):
    """Counts every number: those of a window, or known ones, fast, others in a table that may not grow
    large."""

    def __init__(
        self,
        name: str,
        kind: pa.DataType,
        rule: ColumnRule,
        window: tuple[int, int],
        distinct: Numbers,
        wide: "ManyNumbers",
    ) -> None:
        """`wide` goes on, where there turn out to be many."""
        super().__init__(name, kind, rule, distinct, wide._need, wide._point_share)
        self._wide = wide
        self._start, width = window
        self._window = np.zeros(width, dtype=np.int64)
        self._known = distinct[:0] if width else distinct
        self._counts = np.zeros(len(self._known), dtype=np.int64)
        self._others = NumberTally(distinct.dtype)

    def add(self, values: Numbers, span: Span, people: UInt64 | None) -> NumberCounter:
        self._note(values, span)
        if not len(values):
            return self
        if people is not None:
            # What the counts of all numbers do not tell.
            inner = ~self._apart(values)
            within, whose = self._clipped(values[inner]), people[inner]
            self._outer.add(within, whose)
            self._sharers.add(_keys(values), people)
            rest = ~np.isin(within, self._wide.known)
            self._wide.uncounted.add(within[rest], whose[rest])
        if len(self._window):
            others = self._count_window(values)
        else:
            at = np.minimum(np.searchsorted(self._known, values), len(self._known) - 1)
            inside = self._known[at] == values
            self._counts += np.bincount(at if inside.all() else at[inside], minlength=len(self._known))
            others = values[~inside]
        self._others.add(others)
        return self.widened() if self._others.is_large else self

    def merged(self, other: NumberCounter) -> NumberCounter:
        if not isinstance(other, AllNumbers):
            return self.widened().merged(other)
        self._take_in(other)
        self._window += other._window
        self._counts += other._counts
        self._others.take_in(other._others)
        self._wide.uncounted.take_in(other._wide.uncounted)
        return self.widened() if self._others.is_large else self

    def _count_window(self, values: Numbers) -> Numbers:
        """Count those inside the window; the others."""
        at, last = values - self._start, len(self._window) - 1
        others = values[:0]
        # A difference that wraps is beyond the window, too.
        if at.min() < 0 or at.max() > last:
            inside = (at >= 0) & (at <= last)
            at, others = at[inside], values[~inside]
        counts = np.bincount(at)
        self._window[: len(counts)] += counts
        return others

    def covers(self, sample: Numbers) -> bool:
        return True

    def facts(self, sample: Numbers, min_rows: int, *, is_grouped: bool) -> NumberFacts:
        values, counts = self._counted()
        return facts_of_counts(
            self._name,
            self._kind,
            self._rule,
            min_rows,
            distinct=values,
            counts=counts,
            shared=self._sharers.of(_keys(values)) if is_grouped else counts,
            missing=self._missing,
            in_order=bool(self._in_order),
            outer=(self._outer.lowest, self._outer.highest) if is_grouped else None,
        )

    def _counted(self) -> tuple[Numbers, Int64]:
        """The different numbers, ascending, and the rows of each."""
        at = np.flatnonzero(self._window)
        known = at + self._start if len(self._window) else self._known
        counts = self._window[at] if len(self._window) else self._counts
        values = np.concatenate([known.astype(self._others.values.dtype), self._others.values])
        counts = np.concatenate([counts, self._others.counts])
        order = np.argsort(values[counts > 0], kind="stable")
        return values[counts > 0][order], counts[counts > 0][order]

    def widened(self) -> "ManyNumbers":
        """The counter of many different numbers, as if it had counted from the start: a sample of first rows
        did not show how many there are."""
        self._wide.go_on_from(self, *self._counted())
        return self._wide


class ManyNumbers(_Numbers):
    """Counts the numbers that can be points, and keeps what bounds, decimals and steps follow from."""

    def __init__(
        self,
        name: str,
        kind: pa.DataType,
        rule: ColumnRule,
        distinct: Numbers,
        frequent: Numbers,
        need: int,
        point_share: float,
    ) -> None:
        super().__init__(name, kind, rule, distinct, need, point_share)
        self.known = frequent
        self._counts = np.zeros(len(frequent), dtype=np.int64)
        self._others = NumberTally(distinct.dtype)
        """Those that stand apart."""
        self.uncounted = Outermost(distinct.dtype)
        """Of those that are not counted."""
        self._steps = familiar_steps(kind) if distinct.dtype == np.int64 else []
        self._decimals: int | None = 0 if distinct.dtype == np.float64 else None

    def add(self, values: Numbers, span: Span, people: UInt64 | None) -> NumberCounter:
        self._note(values, span)
        if len(values):
            self._add(values, people)
        return self

    def go_on_from(self, before: _Numbers, values: Numbers, counts: Int64) -> None:
        """Take over what another counter found: the different numbers (D,) and the rows of each."""
        self._rows, self._missing = before._rows, before._missing
        self._in_order, self._sharers = before._in_order, before._sharers
        if not len(values):
            return
        few = np.repeat(values, np.minimum(counts, NEIGHBOURS))
        outer, uncounted = before._outer, self.uncounted
        if not len(outer.lowest):
            # Where people are told apart, those are known already.
            few = self._clipped(few[~self._apart(few)])
            outer.add(few, None)
            uncounted.add(few[~np.isin(few, self.known)], None)
        # Of the outermost more is known than the different numbers tell.
        self._outer, self.uncounted = Outermost(values.dtype), Outermost(values.dtype)
        self._add(values, None)
        self._outer, self.uncounted = outer, uncounted
        # Each was counted once so far.
        self._others.counts = counts[np.searchsorted(values, self._others.values)]
        inner = ~self._apart(values)
        at, here = self._places(self._clipped(values[inner]))
        self._counts = np.bincount(at, counts[inner][here], len(self.known)).astype(np.int64)

    def merged(self, other: NumberCounter) -> NumberCounter:
        if isinstance(other, AllNumbers):
            other = other.widened()
        assert isinstance(other, ManyNumbers), "there are two counters"
        self._take_in(other)
        self._counts += other._counts
        self._others.take_in(other._others)
        self.uncounted.take_in(other.uncounted)
        # Each unit is a multiple of those behind it.
        self._steps = min(self._steps, other._steps, key=len)
        both = (self._decimals, other._decimals)
        self._decimals = None if None in both else max(one for one in both if one is not None)
        return self

    def _places(self, values: Numbers) -> tuple[Int64, Bool]:
        """Which of the known numbers those values (N,) are that are one, and which are (N,)."""
        if not len(self.known):
            return np.zeros(0, dtype=np.int64), np.zeros(len(values), dtype=bool)
        at = np.minimum(np.searchsorted(self.known, values), len(self.known) - 1)
        here = self.known[at] == values
        return at[here], here

    def _add(self, values: Numbers, people: UInt64 | None) -> None:
        if self._any_apart(values):
            away = self._apart(values)
            self._others.add(values[away])
            if people is not None:
                self._sharers.add(_keys(values[away]), people[away])
            values, people = values[~away], None if people is None else people[~away]
        values = self._clipped(values)
        if not len(values):
            return
        rest, whose = values, people
        if len(self.known):
            at, here = self._places(values)
            self._counts += np.bincount(at, minlength=len(self.known))
            if people is not None:
                self._sharers.add(_keys(values[here]), people[here])
            rest, whose = values[~here], None if people is None else people[~here]
        self.uncounted.add(rest, whose)
        self._outer.add(values, people)
        while self._steps and (values // self._steps[0] * self._steps[0] != values).any():
            self._steps.pop(0)
        if self._decimals is not None:
            self._decimals = fewest_decimals(values, self._kind, self._decimals)

    def covers(self, sample: Numbers) -> bool:
        return bool(np.isin(frequent_of(sample, 2 * self._point_share), self.known).all())

    def facts(self, sample: Numbers, min_rows: int, *, is_grouped: bool) -> NumberFacts:
        least = max(NEIGHBOURS, min_rows)
        others, often = self._others.values, self._others.counts
        shared = self._sharers.of(_keys(others)) if is_grouped else often
        lowest, highest = self._outer.lowest, self._outer.highest
        decimals = self._decimals
        if decimals is not None:
            # Numbers too large to be rounded are among the outermost.
            decimals = fewest_decimals(np.concatenate([lowest, highest]), self._kind, decimals)
        uncounted = [self.uncounted.lowest, self.uncounted.highest]
        sentinels, strays = others if others.dtype == np.float64 else others[:0], others[:0]
        if len(others) and others.dtype == np.int64:
            body = np.setdiff1d(np.concatenate([sample, lowest, highest]), others)
            distinct = np.union1d(body, others)
            people = np.full(len(distinct), least)
            people[np.searchsorted(distinct, others)] = shared
            far = apart(distinct, people, self._kind, least)
            sentinels, strays = distinct[far.sentinels], distinct[far.strays]
            # What is neither is one of the others after all.
            plain = np.setdiff1d(others, np.concatenate([sentinels, strays]))
            inner = np.union1d(plain, body)
            nearest = np.clip(np.concatenate([strays, plain]), inner[0], inner[-1])
            rows = often[np.searchsorted(others, np.concatenate([strays, plain]))]
            near = np.repeat(nearest, np.minimum(rows, NEIGHBOURS))
            if not is_grouped:
                lowest, uncounted[0] = (_lowest(each, near) for each in (lowest, uncounted[0]))
                highest, uncounted[1] = (_highest(each, near) for each in (highest, uncounted[1]))
        there = self._rows - self._missing
        inner_rows = there - int(often[np.isin(others, sentinels)].sum())
        low, high = (0, 0) if not len(lowest) else (lowest.min(), highest.max())
        may_be_key = self._rule.kind is None and pa.types.is_integer(self._kind)
        is_unique = may_be_key and (bool(self._in_order) or len(_distinct(sample)) == len(sample))
        is_key = (
            may_be_key
            and not len(sentinels)
            and is_unique
            and looks_like_keys(self._name, there, int(low), int(high), bool(self._in_order))
        )
        return NumberFacts(
            kind=self._kind,
            rows=self._rows,
            missing=self._missing,
            people=len(lowest) if is_grouped else there,
            inner_people=len(lowest) if is_grouped else inner_rows,
            sentinels=sentinels,
            distinct=self.known,
            counts=self._counts,
            shared=self._sharers.of(_keys(self.known)) if is_grouped else self._counts,
            is_whole=False,
            is_key=is_key,
            lowest=lowest,
            highest=highest,
            step=self._steps[0] if self._steps else 1,
            decimals=decimals,
            sentinel_rows=there - inner_rows,
            is_grouped=is_grouped,
            is_unique=is_unique,
            others=(uncounted[0], uncounted[1]),
        )


def frequent_of(values: Numbers, point_share: float) -> Numbers:
    """The numbers that are frequent enough in a sample (N,) to be points, of so large a share, of all rows,
    ascending."""
    least = max(CANDIDATE_ROWS, CANDIDATE_SHARE * point_share * len(values))
    # Numbers that share a bucket with too few others need no sorting: on a curve, nearly all. Minus zero is
    # zero.
    buckets = _keys(values + 0) >> np.uint64(48)
    in_bucket = np.bincount(buckets.view(np.int64), minlength=1)
    values = values[in_bucket[buckets.view(np.int64)] >= least]
    distinct, counts = np.unique(values, return_counts=True)
    frequent: Numbers = distinct[counts >= least]
    return frequent


def _window(values: Numbers) -> tuple[int, int] | None:
    """Where counting begins and how wide it is, for whole numbers that lie close together."""
    if values.dtype != np.int64 or not len(values):
        return None
    low, high = (int(bound) for bound in np.quantile(values, (0.001, 0.999), method="nearest"))
    around = max(high - low, 512)
    width = 3 * around
    return None if width > WIDEST else (low - around, width)


def _lowest(some: Numbers, more: Numbers) -> Numbers:
    return np.sort(np.concatenate([some, more]))[:NEIGHBOURS]


def _highest(some: Numbers, more: Numbers) -> Numbers:
    return np.sort(np.concatenate([some, more]))[-NEIGHBOURS:]


def _distinct(values: Numbers) -> Numbers:
    """The different ones, ascending: by sorting, which costs less than `np.unique` where they are many."""
    ordered = np.sort(values)
    is_new = np.ones(len(ordered), dtype=bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    found: Numbers = ordered[is_new]
    return found


def _keys(values: Numbers) -> UInt64:
    return mix(values.view(np.uint64), 7)
