"""One line for numbers, or times, of several columns: whole ticks where that loses nothing, else floats."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from synthmill.data.bounds import fewest_decimals
from synthmill.data.columns import (
    Bool,
    Int64,
    Numbers,
    from_float64,
    from_int64,
    to_float64,
    to_int64,
    valid_rows,
)

_DAY = 86_400
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_LARGEST = 2**63 - 1
_EXACT_FLOAT = 2.0**52


def family(kind: pa.DataType) -> str | None:
    """Types of one family can be compared; None: they have no order that constraints know of."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numbers"
    if pa.types.is_timestamp(kind):
        return "dates and times" if kind.tz is None else "times of a zone"
    if pa.types.is_date(kind):
        return "dates and times"
    if pa.types.is_time(kind):
        return "times of day"
    return "durations" if pa.types.is_duration(kind) else None


@dataclass(frozen=True)
class Line:
    """Where the values of some columns of one family lie."""

    exact: bool
    """Whether ticks are whole; else they are floats."""
    per: int = 1
    """Ticks in 1, or in a second."""
    unit: str = ""
    """Of ticks that are time: `s`, `ms`, `us`, `ns`, or `d` where all columns are dates."""

    @classmethod
    def of(cls, kinds: Mapping[str, pa.DataType], decimals: Mapping[str, int | None]) -> "Line":
        """The coarsest line on which every value of the columns has a place of its own; `decimals` are of
        those that hold floats, None where their digits have no end."""
        if family(next(iter(kinds.values()))) != "numbers":
            units = {_unit(kind) for kind in kinds.values()}
            if units == {"d"}:
                return cls(exact=True, unit="d")
            unit = max(units - {"d"}, key=UNITS.__getitem__)
            return cls(exact=True, per=UNITS[unit], unit=unit)
        floats = [name for name, kind in kinds.items() if pa.types.is_floating(kind)]
        if any(decimals.get(name) is None for name in floats):
            return cls(exact=False)
        scales = [kind.scale for kind in kinds.values() if pa.types.is_decimal(kind)]
        return cls(exact=True, per=10 ** max(0, *scales, *(decimals[name] or 0 for name in floats), 0))

    def place(self, array: pa.Array) -> tuple[Numbers, Bool]:
        """Where the values (N,) lie, and which of them have a place: not the missing, not the infinite ones,
        none beyond 64 bits."""
        kind = array.type
        if pa.types.is_floating(kind):
            values = to_float64(array)
            there = np.isfinite(values)
            if not self.exact:
                return np.where(there, values, 0.0), there
            there &= np.abs(np.where(there, values, 0.0)) * self.per < _EXACT_FLOAT
            return np.round(np.where(there, values, 0.0) * self.per).astype(np.int64), there
        whole, there = to_int64(array), valid_rows(array)
        if not self.exact:
            scale = kind.scale if pa.types.is_decimal(kind) else 0
            return whole / 10**scale, there
        factor = self.ticks(kind)
        return _times(whole, factor), there & (np.abs(whole) < _LARGEST // factor) & (whole != -_LARGEST - 1)

    def cells(self, places: Numbers, there: Bool, kind: pa.DataType) -> pa.Array:
        """Cells of a type from their places (N,): the inverse of `place`; null where none is. Places beyond
        the type come out as its ends."""
        if pa.types.is_floating(kind):
            return from_float64(places / self.per if self.exact else places, there, kind)
        if not self.exact:
            scale = kind.scale if pa.types.is_decimal(kind) else 0
            return from_int64(np.round(places * 10**scale).astype(np.int64), there, kind)
        return from_int64(places // self.ticks(kind), there, kind)

    def ticks(self, kind: pa.DataType, decimals: int | None = None) -> int:
        """From a value of a type to the next, on an exact line; `decimals` are those of floats."""
        if pa.types.is_floating(kind):
            return self.per // int(10 ** (decimals or 0))
        if self.unit:
            own = _unit(kind)
            return 1 if own == self.unit else self.per * _DAY if own == "d" else self.per // UNITS[own]
        return self.per // 10**kind.scale if pa.types.is_decimal(kind) else self.per

    @property
    def gap_type(self) -> pa.DataType:
        """Of the way from one place to another."""
        if not self.exact:
            return pa.float64()
        return pa.duration(self.unit) if self.unit in UNITS else pa.int64()


def decimals_of(array: pa.Array) -> int | None:
    """Digits after the point that write every float of a column; None where there are too many, or one is
    too large for them."""
    values = to_float64(array)
    distinct = np.unique(values[np.isfinite(values)])
    digits = fewest_decimals(distinct, array.type)
    largest = float(np.abs(distinct).max(initial=0.0))
    return None if digits is None or largest * 10**digits >= _EXACT_FLOAT else digits


def compared(low: pa.Array, high: pa.Array, *, strict: bool) -> Bool:
    """Rows (N,) of which `low` is not above `high`, or one of them is missing."""
    both = {"low": low.type, "high": high.type}
    if any(pa.types.is_floating(kind) for kind in both.values()):
        a, b = (to_float64(x) if pa.types.is_floating(x.type) else _floats(x) for x in (low, high))
        with np.errstate(invalid="ignore"):
            return np.isnan(a) | np.isnan(b) | ((a < b) if strict else (a <= b))
    line = Line.of(both, {})
    (a, b), valid = (line.place(x)[0] for x in (low, high)), valid_rows(low) & valid_rows(high)
    found: Bool = ~valid | ((a < b) if strict else (a <= b))
    return found


def added(low: Int64, step: Int64) -> Int64:
    """Sums of whole numbers (N,), those beyond 64 bits as the largest or the smallest."""
    with np.errstate(over="ignore"):
        total = low + step
    over = ((low >= 0) == (step >= 0)) & ((total >= 0) != (low >= 0))
    return np.where(over, np.where(low >= 0, _LARGEST, -_LARGEST - 1), total)


def _floats(array: pa.Array) -> Numbers:
    scale = array.type.scale if pa.types.is_decimal(array.type) else 0
    values = to_int64(array) / 10**scale
    return np.where(valid_rows(array), values, np.nan)


def _times(whole: Int64, factor: int) -> Int64:
    """Products, those beyond 64 bits as the ends, so that their order stays."""
    if factor == 1:
        return whole
    most = _LARGEST // factor
    return np.where(
        whole > most, _LARGEST, np.where(whole < -most, -_LARGEST, np.clip(whole, -most, most) * factor)
    )


def _unit(kind: pa.DataType) -> str:
    if pa.types.is_date(kind):
        return "d" if kind == pa.date32() else "ms"
    return str(kind.unit)
