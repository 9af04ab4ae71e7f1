"""Columns in ascending order: `start <= end`, or `a < b < c`."""

from itertools import pairwise

import numpy as np
import pyarrow as pa

from synthmill.data.columns import Bool, flat
from synthmill.data.constraints._line import compared
from synthmill.data.constraints._order import order_fault
from synthmill.data.constraints.base import Constraint, Precedes


class Inequality(Constraint):
    """Each column is not above the next that is there; missing cells are left out of the comparison."""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.config.columns)

    @property
    def text(self) -> str:
        return (" < " if self.config.strict else " <= ").join(self.columns)

    def holds(self, table: pa.Table) -> Bool:
        found = np.ones(table.num_rows, dtype=bool)
        arrays = [flat(table[name]) for name in self.columns]
        # All pairs, as the column between two may be missing.
        for at, low in enumerate(arrays):
            for high in arrays[at + 1 :]:
                found &= compared(low, high, strict=self.config.strict)
        return found

    def fault(self, schema: pa.Schema) -> str | None:
        return order_fault(self.columns, schema)

    def order(self) -> tuple[Precedes, ...]:
        return tuple(Precedes(low, high, self.config.strict) for low, high in pairwise(self.columns))
