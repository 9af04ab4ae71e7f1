"""Dates that stand for no date, such as 9999-12-31: values of their own, far from all others, never
interpolated
with."""

from datetime import date
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from synthmill.data.columns import Bool, Int64, Numbers
from synthmill.data.people import count_sharers, picked

_KNOWN = tuple(
    (date(*day) - date(1970, 1, 1)).days
    for day in (
        *((9999, 12, 31), (9999, 12, 30), (9999, 1, 1), (9998, 12, 31), (8888, 12, 31), (2999, 12, 31)),
        *(
            (3000, 1, 1),
            (2999, 1, 1),
            (2500, 1, 1),
            (2262, 4, 11),
            (2200, 1, 1),
            (2199, 12, 31),
            (2100, 1, 1),
        ),
        *((2100, 12, 31), (2099, 12, 31), (2079, 6, 6), (2078, 12, 31), (2049, 12, 31), (2038, 1, 19)),
        *(
            (1970, 1, 1),
            (1960, 1, 1),
            (1904, 1, 1),
            (1901, 1, 1),
            (1900, 1, 1),
            (1899, 12, 31),
            (1899, 12, 30),
        ),
        *((1800, 1, 1), (1753, 1, 1), (1677, 9, 21), (1601, 1, 1), (1582, 10, 15), (1111, 11, 11), (1, 1, 1)),
    )
)
"""Days since 1970 that databases and programs write for "never" and "unknown": public, and nobody's own."""
MIN_GAP_DAYS = 365
FAR = 3.0
"""Other values stand apart where they are so many spans of the rest away."""
_PER_DAY = {"s": 86400, "ms": 86400 * 10**3, "us": 86400 * 10**6, "ns": 86400 * 10**9}


class Apart(NamedTuple):
    """Values far from the others, as masks over the distinct ones."""

    sentinels: Bool
    """Kept as they are."""
    strays: Bool
    """Of too few people to be kept: they count as the nearest of the others."""


def apart(distinct: Int64, shared: Int64, kind: pa.DataType, min_rows: int) -> Apart:
    """Which of the distinct dates or timestamps, ascending, stand apart; `shared` are the people that have
    each."""
    none = np.zeros(len(distinct), dtype=bool)
    if not (pa.types.is_date(kind) or pa.types.is_timestamp(kind)) or len(distinct) < 2:
        return Apart(none, none)
    days = distinct // _unit_of(kind)
    known = np.isin(days, _KNOWN)
    rest = days[~known]
    if len(rest) == 0:
        return Apart(none, none)
    # Few strays must not widen the span they are measured by.
    low, high = (float(bound) for bound in np.quantile(rest, (0.01, 0.99)))
    span = max(high - low, float(MIN_GAP_DAYS))
    away = np.maximum(low - days, days - high)
    near_known = np.min(np.abs(days[:, None] - rest[[0, -1]][None, :]), axis=1) if known.any() else away
    sentinels = known & (away > 0) & (near_known >= MIN_GAP_DAYS)
    far = away > FAR * span
    return Apart(sentinels | (far & (shared >= min_rows)), far & ~sentinels & (shared < min_rows))


class Frame(NamedTuple):
    """Where the dates or timestamps of a sample lie, in the column's unit."""

    low: float
    high: float
    far: float
    """Further than that beyond them, values stand apart whatever they are."""
    per_day: int

    def outside(self, values: Int64) -> Bool:
        """Which values (N,) may stand apart: those far away, and public ones beyond the others."""
        beyond = np.maximum(self.low - values, values - self.high)
        found: Bool = beyond > self.far
        near = np.flatnonzero((beyond > 0) & ~found)
        found[near] = np.isin(values[near] // self.per_day, _KNOWN)
        return found


def frame_of(values: Int64, kind: pa.DataType) -> Frame | None:
    """The frame of the different values of a sample; None for other types, or without values."""
    if not (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        return None
    day = _unit_of(kind)
    rest = values[~np.isin(values // day, _KNOWN)]
    if not len(rest):
        return None
    low, high = (float(bound) for bound in np.quantile(rest, (0.01, 0.99)))
    return Frame(low, high, FAR * max(high - low, float(MIN_GAP_DAYS * day)), day)


def _unit_of(kind: pa.DataType) -> int:
    """How many units a day has: dates of 64 bits count milliseconds, others days."""
    if pa.types.is_timestamp(kind):
        return _PER_DAY[kind.unit]
    return _PER_DAY["ms"] if kind == pa.date64() else 1


def without_sentinels(
    values: Numbers,
    people: Int64 | None,
    kind: pa.DataType,
    min_rows: int,
    low: float | None,
    high: float | None,
) -> tuple[Numbers, Int64 | None, Numbers]:
    """The values within their bounds, their people, and the values that stand for no date or for infinity: a
    bound is not for those."""
    sentinels = values[:0]
    if pa.types.is_floating(kind):
        finite = np.isfinite(values)
        if not finite.all():
            # How often something is infinite is no person's value: one row suffices to keep it.
            sentinels = np.unique(values[~finite])
            values, people = values[finite], picked(people, finite)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        distinct, codes = np.unique(values, return_inverse=True)
        far = apart(distinct, count_sharers(codes.reshape(-1), len(distinct), people), kind, min_rows)
        sentinels = distinct[far.sentinels]
        near = ~far.sentinels[codes.reshape(-1)]
        values, people = values[near], picked(people, near)
        if far.strays.any():
            inner = distinct[~far.sentinels & ~far.strays]
            low, high = (inner[0] if low is None else low), (inner[-1] if high is None else high)
    if low is not None or high is not None:
        values = np.clip(values, low, high)
    return values, people, sentinels
