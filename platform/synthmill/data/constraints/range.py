"""A column between two others, `low <= middle <= high`, or between two constants."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pyarrow as pa

from synthmill.data.columns import Bool, flat, to_int64, valid_rows
from synthmill.data.constraints._line import compared, family
from synthmill.data.constraints._order import order_fault
from synthmill.data.constraints.base import Constraint, Limit, Precedes


class Range(Constraint):
    """Missing cells are left out of the comparison."""

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.config.column,) if self.config.columns is None else tuple(self.config.columns)

    @property
    def text(self) -> str:
        sign = " < " if self.config.strict else " <= "
        if self.config.columns is not None:
            return sign.join(self.columns)
        parts = (self.config.minimum, self.config.column, self.config.maximum)
        return sign.join(str(part) for part in parts if part is not None)

    def holds(self, table: pa.Table) -> Bool:
        found = np.ones(table.num_rows, dtype=bool)
        arrays = [flat(table[name]) for name in self.columns]
        strict = self.config.strict
        for at, low in enumerate(arrays):
            for high in arrays[at + 1 :]:
                found &= compared(low, high, strict=strict)
        for bound, is_low in ((self.config.minimum, True), (self.config.maximum, False)):
            if bound is not None:
                found &= _within(arrays[0], bound, is_low=is_low, strict=strict)
        return found

    def fault(self, schema: pa.Schema) -> str | None:
        if self.config.columns is not None:
            return order_fault(self.columns, schema)
        kind = schema.field(self.config.column).type
        known = family(kind)
        dated = pa.types.is_date(kind) or pa.types.is_timestamp(kind)
        if known is None or (known != "numbers" and not dated):
            return f"{self.config.column!r} is {kind}, which has no bounds; use a number, a date or a time"
        for bound in (self.config.minimum, self.config.maximum):
            if bound is not None and isinstance(bound, str) != dated:
                what = "an ISO date, such as 2020-01-31" if dated else "a number"
                return f"{self.config.column!r} holds {known}; state its bound as {what}, not {bound!r}"
            try:
                _ = None if bound is None or not dated else pa.scalar(bound).cast(pa.timestamp("us"))
            except pa.ArrowInvalid:
                return f"{bound!r} is no ISO date or time; write it as 2020-01-31 or 2020-01-31T08:00:00"
        return None

    def order(self) -> tuple[Precedes, ...]:
        if self.config.columns is None:
            return ()
        return tuple(Precedes(low, high, self.config.strict) for low, high in pairwise(self.columns))

    def limits(self) -> tuple[Limit, ...]:
        if self.config.column is None:
            return ()
        return (Limit(self.config.column, self.config.minimum, self.config.maximum, self.config.strict),)


def _within(array: pa.Array, bound: int | float | str, *, is_low: bool, strict: bool) -> Bool:
    """Rows (N,) on the inner side of a constant, or missing."""
    kind = array.type
    if isinstance(bound, str):
        moment = pa.scalar(bound).cast(pa.timestamp("us"))
        constant = pa.repeat(moment.cast(pa.timestamp("us", getattr(kind, "tz", None))), len(array))
        return (
            compared(constant, array, strict=strict) if is_low else compared(array, constant, strict=strict)
        )
    sign = 1 if is_low else -1
    if pa.types.is_floating(kind):
        # In the column's own width: 0.1 of 32 bits is more than 0.1.
        own = kind.to_pandas_dtype()(bound)
        values = array.to_numpy(zero_copy_only=False)
        found: Bool = np.isnan(values) | ((values - own) * sign > 0) | ((values == own) & (not strict))
        return found
    whole, valid = to_int64(array), valid_rows(array)
    exact = Fraction(str(bound)) * 10 ** (kind.scale if pa.types.is_decimal(kind) else 0)
    edge = -(-exact.numerator // exact.denominator) if is_low else exact.numerator // exact.denominator
    inside = whole > edge if is_low else whole < edge
    held: Bool = ~valid | inside | ((whole == edge) & (not strict or exact.denominator > 1))
    return held
