"""What the profile of a scanned column follows from, counted over its train rows block by block.

Few different numbers, and whole ones that lie close together, are all counted. Of others those are that a
sample shows to be frequent, those that stand apart, and the five outermost.
"""

from typing import Protocol

import numpy as np
import pyarrow as pa

from synthmill.data.bounds import familiar_steps, fewest_decimals
from synthmill.data.columns import Bool, Int64, Numbers, UInt64, is_integral, to_int64, valid_rows
from synthmill.data.facts import NumberFacts, TextFacts, facts_of_counts, numbers, stated_bounds
from synthmill.data.identifiers import looks_like_keys
from synthmill.data.mixing import mix
from synthmill.data.people import NEIGHBOURS
from synthmill.data.scan.content import is_coded, text_hashes
from synthmill.data.scan.tally import MOST_NUMBERS, NumberTally, Outermost, Sharers, TextTally
from synthmill.data.schema import ColumnRule
from synthmill.data.sentinels import apart, frame_of

WIDEST = 1 << 20
"""Whole numbers that lie so close together are counted one by one."""
FEW = 4_096
CANDIDATE_SHARE = 0.4
"""A number whose share of all rows makes it a point has more than so much of that share in a sample."""
CANDIDATE_ROWS = 20


class NumberCounter(Protocol):
    """Counts the train rows of a column of numbers."""

    def add(self, values: Numbers, missing: int, people: UInt64 | None) -> "NumberCounter":
        """Values (N,), how many more rows have none, and hashes of whose they are (N,); the counter that goes
        on."""

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
    if window is not None or (
        len(distinct) <= FEW and (8 * len(distinct) <= len(values) or len(values) < FEW)
    ):
        return AllNumbers(name, kind, rule, window or (0, 0), distinct, need, point_share)
    return ManyNumbers(name, kind, rule, distinct, frequent_of(values, point_share), need, point_share)


def present(array: pa.Array, at: Int64) -> tuple[Numbers, Bool | None]:
    """The numbers at these places (N,) that are there, and where they are; None: all."""
    if array.null_count == 0 and is_integral(array.type):
        return to_int64(array).take(at), None
    values, valid = numbers(array)
    values, valid = values.take(at), valid.take(at)
    return (values, None) if valid.all() else (values[valid], valid)


class TextCounter:
    """Counts the train rows of a column whose values are taken for texts."""

    def __init__(self, kind: pa.DataType, need: int) -> None:
        self._kind = kind
        self._tally, self._sharers = TextTally(), Sharers(need)
        self._missing = 0
        self._first: pa.Array | None = None
        self._texts = pa.array([], pa.string())
        """A dictionary that several blocks share, and the rows of each of its texts that the tally was not
        told of."""
        self._counts = np.zeros(0, dtype=np.int64)

    def add(self, array: pa.Array, at: Int64, people: UInt64 | None) -> None:
        """Values of a block, text dictionary-encoded, the places in it that count (N,), and hashes of whose
        those are (N,)."""
        coded = array if is_coded(array) else array.cast(pa.string()).dictionary_encode()
        if coded.null_count:
            there = valid_rows(coded).take(at)
            self._missing += len(at) - int(np.count_nonzero(there))
            at, people = at[there], None if people is None else people[there]
        if not len(at):
            return
        if self._first is None and not is_coded(array):
            self._first = array[int(at[0]) : int(at[0]) + 1]
        codes = coded.indices.fill_null(0).to_numpy(zero_copy_only=False).take(at)
        if not self._texts.equals(coded.dictionary):
            self._tell()
            self._texts = coded.dictionary
            self._counts = np.zeros(len(self._texts), dtype=np.int64)
        self._counts += np.bincount(codes, minlength=len(self._texts))
        if people is not None:
            self._sharers.add(text_hashes(coded.dictionary)[codes], people)

    def _tell(self) -> None:
        """Tell the tally what was counted of a dictionary."""
        some = np.flatnonzero(self._counts)
        self._tally.add(self._texts.take(pa.array(some)), self._counts[some])
        self._counts = np.zeros(len(self._counts), dtype=np.int64)

    def facts(self, *, is_grouped: bool) -> TextFacts:
        """People count where `is_grouped`."""
        self._tell()
        tally = self._tally
        tally.merge()
        return TextFacts(
            kind=self._kind,
            values=tally.texts,
            counts=tally.counts,
            shared=self._sharers.of(tally.hashes) if is_grouped else tally.counts,
            missing=self._missing,
            first=pa.nulls(1, self._kind) if self._first is None else self._first,
            is_grouped=is_grouped,
            uncounted=tally.uncounted,
        )


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
        self._in_order, self._last = True, None

    def _note(self, values: Numbers, missing: int) -> None:
        """Count rows, and see whether values still ascend."""
        self._rows += len(values) + missing
        self._missing += missing
        if self._in_order and len(values):
            if (self._last is not None and values[0] <= self._last) or (values[1:] <= values[:-1]).any():
                self._in_order = False
            self._last = values[-1]

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
        need: int,
        point_share: float,
    ) -> None:
        super().__init__(name, kind, rule, distinct, need, point_share)
        self._start, width = window
        self._window = np.zeros(width, dtype=np.int64)
        self._known = distinct[:0] if width else distinct
        self._counts = np.zeros(len(self._known), dtype=np.int64)
        self._others = NumberTally(distinct.dtype)

    def add(self, values: Numbers, missing: int, people: UInt64 | None) -> NumberCounter:
        self._note(values, missing)
        if not len(values):
            return self
        if people is not None:
            inner = ~self._apart(values)
            self._outer.add(values[inner], people[inner])
            self._sharers.add(_keys(values), people)
        if len(self._window):
            others = self._count_window(values)
        else:
            at = np.minimum(np.searchsorted(self._known, values), len(self._known) - 1)
            inside = self._known[at] == values
            self._counts += np.bincount(at if inside.all() else at[inside], minlength=len(self._known))
            others = values[~inside]
        self._others.add(others)
        return self if len(self._others.values) <= MOST_NUMBERS else self._widened()

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
            in_order=self._in_order,
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

    def _widened(self) -> "ManyNumbers":
        """The counter of many different numbers, told of all that was counted: a sample of first rows did not
        show how many there are."""
        values, counts = self._counted()
        often = counts >= max(CANDIDATE_ROWS, CANDIDATE_SHARE * self._point_share * counts.sum())
        need, share = self._need, self._point_share
        wide = ManyNumbers(self._name, self._kind, self._rule, values, values[often], need, share)
        wide.go_on_from(self, values, counts)
        return wide


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
        self._known = frequent
        self._counts = np.zeros(len(frequent), dtype=np.int64)
        self._others = NumberTally(distinct.dtype)
        """Those that stand apart."""
        self._uncounted = Outermost(distinct.dtype)
        self._steps = familiar_steps(kind) if distinct.dtype == np.int64 else []
        self._decimals: int | None = 0 if distinct.dtype == np.float64 else None
        self._bounds = stated_bounds(name, rule, kind)

    def add(self, values: Numbers, missing: int, people: UInt64 | None) -> NumberCounter:
        self._note(values, missing)
        if len(values):
            self._add(values, people)
        return self

    def go_on_from(self, before: _Numbers, values: Numbers, counts: Int64) -> None:
        """Take over what another counter found: the different numbers (D,) and the rows of each."""
        self._rows, self._missing = before._rows, before._missing
        self._in_order, self._last = before._in_order, before._last
        self._add(values, None)
        # Each was counted once so far.
        self._counts = counts[np.searchsorted(values, self._known)]
        self._others.counts = counts[np.searchsorted(values, self._others.values)]
        few = np.repeat(values, np.minimum(counts, NEIGHBOURS))
        few = few[~self._apart(few)]
        self._outer, self._uncounted = Outermost(values.dtype), Outermost(values.dtype)
        self._outer.add(few, None)
        self._uncounted.add(few[~np.isin(few, self._known)], None)
        self._sharers = before._sharers

    def _add(self, values: Numbers, people: UInt64 | None) -> None:
        if self._any_apart(values):
            away = self._apart(values)
            self._others.add(values[away])
            if people is not None:
                self._sharers.add(_keys(values[away]), people[away])
            values, people = values[~away], None if people is None else people[~away]
        low, high = self._bounds
        if low is not None or high is not None:
            values = np.clip(values, low, high)
        if not len(values):
            return
        rest, whose = values, people
        if len(self._known):
            at = np.minimum(np.searchsorted(self._known, values), len(self._known) - 1)
            here = self._known[at] == values
            self._counts += np.bincount(at[here], minlength=len(self._known))
            if people is not None:
                self._sharers.add(_keys(values[here]), people[here])
            rest, whose = values[~here], None if people is None else people[~here]
        self._uncounted.add(rest, whose)
        self._outer.add(values, people)
        while self._steps and (values // self._steps[0] * self._steps[0] != values).any():
            self._steps.pop(0)
        if self._decimals is not None:
            self._decimals = fewest_decimals(values, self._kind, self._decimals)

    def covers(self, sample: Numbers) -> bool:
        return bool(np.isin(frequent_of(sample, 2 * self._point_share), self._known).all())

    def facts(self, sample: Numbers, min_rows: int, *, is_grouped: bool) -> NumberFacts:
        least = max(NEIGHBOURS, min_rows)
        others, often = self._others.values, self._others.counts
        shared = self._sharers.of(_keys(others)) if is_grouped else often
        lowest, highest = self._outer.lowest, self._outer.highest
        uncounted = [self._uncounted.lowest, self._uncounted.highest]
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
        is_unique = may_be_key and (self._in_order or len(_distinct(sample)) == len(sample))
        is_key = (
            may_be_key
            and not len(sentinels)
            and is_unique
            and looks_like_keys(self._name, there, int(low), int(high), self._in_order)
        )
        return NumberFacts(
            kind=self._kind,
            rows=self._rows,
            missing=self._missing,
            people=len(lowest) if is_grouped else there,
            inner_people=len(lowest) if is_grouped else inner_rows,
            sentinels=sentinels,
            distinct=self._known,
            counts=self._counts,
            shared=self._sharers.of(_keys(self._known)) if is_grouped else self._counts,
            is_whole=False,
            is_key=is_key,
            lowest=lowest,
            highest=highest,
            step=self._steps[0] if self._steps else 1,
            decimals=self._decimals,
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
