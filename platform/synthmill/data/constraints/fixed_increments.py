"""A column of multiples of a step: the multiple is learnt."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from synthmill.data.columns import (
    Bool,
    Int64,
    flat,
    from_float64,
    from_int64,
    to_float64,
    to_int64,
    valid_rows,
)
from synthmill.data.constraints._line import family
from synthmill.data.constraints.base import Arrays, Constraint, Learnt, Step, free_name
from synthmill.data.schema import ColumnRule

_NOISE = 4.0
"""Last bits by which a float may miss its multiple, as 3 * 0.1 does."""


class FixedIncrements(Constraint):
    """Missing cells are multiples of nothing, and stay."""

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.config.column,)

    @property
    def text(self) -> str:
        return f"{self.config.column} in steps of {self.config.step}"

    def holds(self, table: pa.Table) -> Bool:
        array = flat(table[self.config.column])
        many, there = multiples(array, self.config.step)
        again, valid = values(many, there, array.type, self.config.step), valid_rows(array)
        if not pa.types.is_floating(array.type):
            same: Bool = ~valid | (there & (to_int64(again) == to_int64(array)))
            return same
        own, made = to_float64(array), to_float64(again)
        with np.errstate(invalid="ignore"):
            near = np.abs(own - made) <= _NOISE * np.finfo(array.type.to_pandas_dtype()).eps * np.abs(own)
        held: Bool = np.isnan(own) | (there & near)
        return held

    def fault(self, schema: pa.Schema) -> str | None:
        kind = schema.field(self.config.column).type
        if family(kind) != "numbers":
            return f"{self.config.column!r} is {kind}; steps are of numbers"
        scale = kind.scale if pa.types.is_decimal(kind) else 0
        whole = Fraction(str(self.config.step)) * 10**scale
        if not pa.types.is_floating(kind) and whole.denominator > 1:
            return f"{self.config.column!r} is {kind}, which has no steps of {self.config.step}; give another"
        return None

    def step(self, schema: pa.Schema) -> Step:
        return _Multiples(self.field, self.config, schema)


class _Multiples(Step):
    def __init__(self, field: str, config: Any, schema: pa.Schema) -> None:
        self.field, self._column, self._step = field, config.column, config.step
        self.writes, self._kind = (config.column,), schema.field(config.column).type
        self._name = free_name(f"{config.column} / {config.step}", schema.names)

    def fit(self, table: pa.Table, people: Int64 | None) -> None:
        """The step is stated."""

    def learnt(self, table: pa.Table, *, known: bool = False) -> dict[str, list[Learnt]]:
        many, there = multiples(flat(table[self._column]), self._step)
        return {self._column: [Learnt(self._name, pa.array(many, mask=~there), ColumnRule(kind="integer"))]}

    def rebuilt(self, columns: Arrays, learnt: Arrays, *, bounded: bool) -> dict[str, pa.Array]:
        many = learnt[self._name]
        return {self._column: values(to_int64(many), valid_rows(many), self._kind, self._step)}

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """It is told nothing."""

    def names(self) -> tuple[str, ...]:
        return (self._name,)


def multiples(array: pa.Array, step: int | float) -> tuple[Int64, Bool]:
    """How often the step goes into each value (N,), rounded, and where there is one."""
    if pa.types.is_floating(array.type):
        own = to_float64(array)
        exact = Fraction(str(step))
        there = np.isfinite(own) & (np.abs(np.nan_to_num(own)) / float(step) < 2.0**52)
        times = np.where(there, own, 0.0) * exact.denominator / exact.numerator
        return np.round(times).astype(np.int64), there
    own_step = int(Fraction(str(step)) * 10 ** (array.type.scale if pa.types.is_decimal(array.type) else 0))
    return to_int64(array) // own_step, valid_rows(array)


def values(many: Int64, there: Bool, kind: pa.DataType, step: int | float) -> pa.Array:
    """So many times the step: of a float the one nearest to it, as it is written."""
    exact = Fraction(str(step))
    if pa.types.is_floating(kind):
        return from_float64(many * float(exact.numerator) / exact.denominator, there, kind)
    own_step = int(exact * 10 ** (kind.scale if pa.types.is_decimal(kind) else 0))
    most = (2**63 - 1) // own_step
    if pa.types.is_integer(kind):
        limits = np.iinfo(kind.to_pandas_dtype())
        most, least = min(most, int(limits.max) // own_step), -(-int(limits.min) // own_step)
    else:
        least = -most
    return from_int64(np.clip(many, max(least, -most), most) * own_step, there, kind)
