"""What a profile follows from: the values of a column of training rows, counted. Counting a table that is in
memory is here; a scanned source is counted block by block (`data.scan.counting`)."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from synthmill.data.bounds import Number, common_step, fewest_decimals, scaled_bound
from synthmill.data.columns import Bool, Int64, Numbers, is_integral, to_float64, to_int64, valid_rows
from synthmill.data.identifiers import is_integer_id
from synthmill.data.people import NEIGHBOURS, count_people, count_sharers, outermost, picked
from synthmill.data.schema import ColumnRule
from synthmill.data.sentinels import apart, without_sentinels

_LARGEST = 1e300
"""Floats beyond it are clipped, so that sums and differences stay finite."""


@dataclass(frozen=True)
class TextFacts:
    """A column of categories."""

    kind: pa.DataType
    values: pa.Array
    """The different texts (D,)."""
    counts: Int64
    """Rows of each (D,)."""
    shared: Int64
    """People that have each (D,)."""
    missing: int
    first: pa.Array
    """One value, typed (1,)."""
    is_grouped: bool
    """Whether people are told apart from rows."""
    uncounted: int = 0
    """Rows of texts that are not among `values`, because there are too many and they are too rare."""

    @property
    def rows(self) -> int:
        """That have a value."""
        return int(self.counts.sum()) + self.uncounted


@dataclass(frozen=True)
class NumberFacts:
    """A column of numbers. `distinct` to `decimals` are of those that do not stand apart, within stated
    bounds."""

    kind: pa.DataType
    rows: int
    missing: int
    people: int
    """That have a value; at least 5 may be said as 5."""
    inner_people: int
    """That have one that does not stand apart."""
    sentinels: Numbers
    """Values that stand for no date or for infinity, ascending."""
    distinct: Numbers
    """Ascending (D,)."""
    counts: Int64
    shared: Int64
    is_whole: bool
    """Whether `distinct` are all; else those that many rows have are among them."""
    is_key: bool
    """Whether they look like keys, each once."""
    lowest: Numbers
    """The 5 lowest, one of each person."""
    highest: Numbers
    step: int
    decimals: int | None
    sentinel_rows: int = 0
    is_grouped: bool = False
    is_unique: bool = False
    """Whether each number is there once; only known of counted rows."""
    others: tuple[Numbers, Numbers] | None = None
    """Where not all are counted: the outermost of those that are not."""

    def rows_beside(self, points: Numbers) -> int:
        """That have a value which is none of `points`, the sentinels among them."""
        of_points = int(self.counts[np.isin(self.distinct, points)].sum())
        return self.rows - self.missing - self.sentinel_rows - of_points

    def outermost_beside(self, points: Numbers) -> tuple[Numbers, Numbers]:
        """The 5 lowest and the 5 highest that are none of `points`, of people where they are told apart."""
        kept = ~np.isin(self.distinct, points)
        if self.is_grouped:
            # One value of each person: known where no point is in the way, else left to a sample.
            ends = (self.lowest, self.highest) if self.is_whole or kept.any() else self.others
            ends = ends or (self.lowest, self.highest)
            return (ends[0][:0], ends[1][:0]) if np.isin(np.concatenate(ends), points).any() else ends
        rows = np.repeat(self.distinct[kept], np.minimum(self.counts[kept], NEIGHBOURS))
        low, high = (rows, rows) if self.others is None else (np.append(rows, end) for end in self.others)
        return np.sort(low)[:NEIGHBOURS], np.sort(high)[-NEIGHBOURS:]


def numbers(array: pa.Array) -> tuple[Numbers, Bool]:
    """Values (int64, or float64 for floats) and which of them count; NaN is missing, infinities are values,
    (N,) each."""
    if is_integral(array.type):
        return to_int64(array), valid_rows(array)
    values = to_float64(array)
    valid = ~np.isnan(values)
    if len(values) and values.min() >= -_LARGEST and values.max() <= _LARGEST:
        # Nothing missing (which compares as false) and nothing to clip: nearly always so.
        return values, valid
    clipped = np.clip(np.where(valid, values, 0.0), -_LARGEST, _LARGEST)
    return np.where(np.isinf(values), values, clipped), valid


def stated_bounds(name: str, rule: ColumnRule, kind: pa.DataType) -> tuple[Number | None, Number | None]:
    """The rule's bounds in the column's own numbers."""
    scale = kind.scale if pa.types.is_decimal(kind) else 0
    low, high = (
        None if bound is None else scaled_bound(name, bound, scale, kind)
        for bound in (rule.minimum, rule.maximum)
    )
    return low, high


def text_facts(array: pa.Array, people: Int64 | None) -> TextFacts:
    """The texts of a column (N,) whose rows belong to `people` (N,)."""
    text = array.cast(pa.string())
    coded = text.drop_null().dictionary_encode()
    codes = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    size = len(coded.dictionary)
    return TextFacts(
        kind=array.type,
        values=coded.dictionary,
        counts=np.bincount(codes, minlength=size),
        shared=count_sharers(codes, size, picked(people, valid_rows(text))),
        missing=array.null_count,
        first=array[:1],
        is_grouped=people is not None,
    )


def number_facts(
    name: str, array: pa.Array, rule: ColumnRule, min_rows: int, people: Int64 | None
) -> NumberFacts:
    """The numbers of a column (N,) whose rows belong to `people` (N,)."""
    kind = array.type
    values, valid = numbers(array)
    values, people = values[valid], picked(people, valid)
    missing, found = len(array) - len(values), count_people(people, len(values))
    sentinels = values[:0]
    if found >= NEIGHBOURS:
        low, high = stated_bounds(name, rule, kind)
        least = max(NEIGHBOURS, min_rows)
        values, people, sentinels = without_sentinels(values, people, kind, least, low, high)
    distinct, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    may_be_key = rule.kind is None and pa.types.is_integer(kind) and not len(sentinels)
    some = len(values) > 0
    return NumberFacts(
        kind=kind,
        rows=len(array),
        missing=missing,
        people=found,
        inner_people=count_people(people, len(values)),
        sentinels=sentinels,
        distinct=distinct,
        counts=counts,
        shared=count_sharers(codes.reshape(-1), len(distinct), people),
        is_whole=True,
        is_key=may_be_key and is_integer_id(name, distinct, counts, bool((np.diff(values) > 0).all())),
        lowest=outermost(values, people, lowest=True) if some else values,
        highest=outermost(values, people, lowest=False) if some else values,
        step=common_step(distinct, kind),
        decimals=fewest_decimals(distinct, kind),
    )


def facts_of_counts(
    name: str,
    kind: pa.DataType,
    rule: ColumnRule,
    min_rows: int,
    *,
    distinct: Numbers,
    counts: Int64,
    shared: Int64,
    missing: int,
    in_order: bool,
    outer: tuple[Numbers, Numbers] | None,
) -> NumberFacts:
    """What `number_facts` finds in rows of which only the different numbers (D,), ascending, are known;
    `outer` are the outermost where people are told apart."""
    there = int(counts.sum())
    rows = there + missing
    people = there if outer is None else len(outer[0])
    sentinels, away = distinct[:0], 0
    if people >= NEIGHBOURS:
        low, high = stated_bounds(name, rule, kind)
        least = max(NEIGHBOURS, min_rows)
        is_sentinel = np.isinf(distinct.astype(np.float64))
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            far = apart(distinct, shared, kind, least)
            is_sentinel = far.sentinels
            if far.strays.any():
                inner = distinct[~far.sentinels & ~far.strays]
                low, high = (inner[0] if low is None else low), (inner[-1] if high is None else high)
        sentinels, away = distinct[is_sentinel], int(counts[is_sentinel].sum())
        distinct, counts, shared = distinct[~is_sentinel], counts[~is_sentinel], shared[~is_sentinel]
        if low is not None or high is not None:
            distinct, at = np.unique(np.clip(distinct, low, high), return_inverse=True)
            counts, shared = (
                np.bincount(at.reshape(-1), weights=each, minlength=len(distinct)).astype(np.int64)
                for each in (counts, shared)
            )
    few = np.minimum(counts, NEIGHBOURS)
    lowest, highest = outer or (np.repeat(distinct, few)[:NEIGHBOURS], np.repeat(distinct, few)[-NEIGHBOURS:])
    may_be_key = rule.kind is None and pa.types.is_integer(kind) and not len(sentinels)
    return NumberFacts(
        kind=kind,
        rows=rows,
        missing=missing,
        people=people,
        inner_people=there - away if outer is None else len(lowest),
        sentinels=sentinels,
        distinct=distinct,
        counts=counts,
        shared=shared,
        is_whole=True,
        is_key=may_be_key and is_integer_id(name, distinct, counts, in_order),
        lowest=lowest,
        highest=highest,
        step=common_step(distinct, kind),
        decimals=fewest_decimals(distinct, kind),
        sentinel_rows=away,
        is_grouped=outer is not None,
        is_unique=bool((counts == 1).all()),
    )
