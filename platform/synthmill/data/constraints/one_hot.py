"""Columns of which exactly one is 1, or true: they are learnt as one category."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import Bool, flat
from synthmill.data.constraints._combined import Combined
from synthmill.data.constraints.base import Constraint, Step


class OneHot(Constraint):
    """Where a cell is missing, at most one of the others is 1."""

    computes = False

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.config.columns)

    @property
    def text(self) -> str:
        return f"one of {', '.join(self.columns)}"

    def holds(self, table: pa.Table) -> Bool:
        ones = np.zeros(table.num_rows, np.int64)
        missing, odd = np.zeros(table.num_rows, dtype=bool), np.zeros(table.num_rows, dtype=bool)
        for name in self.columns:
            cells = flat(table[name])
            is_one, is_zero = (
                np.asarray(pc.fill_null(pc.equal(cells, pa.scalar(value, cells.type)), False))
                for value in ((True, False) if pa.types.is_boolean(cells.type) else (1, 0))
            )
            away = np.asarray(pc.is_null(cells, nan_is_null=True))
            ones += is_one
            missing |= away
            odd |= ~(is_one | is_zero | away)
        return ~odd & np.where(missing, ones <= 1, ones == 1)

    def fault(self, schema: pa.Schema) -> str | None:
        for name in self.columns:
            kind = schema.field(name).type
            if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                return f"{name!r} is {kind}; it must hold 0 and 1, or true and false"
        return None

    def step(self, schema: pa.Schema) -> Step:
        return Combined(self.field, self.columns, schema)
