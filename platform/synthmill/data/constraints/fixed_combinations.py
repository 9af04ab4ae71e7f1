"""Columns whose values occur together as in the training rows only: a city and its country."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import Bool, flat, is_supported
from synthmill.data.constraints._combined import Combined, level_texts
from synthmill.data.constraints.base import Constraint, Step


class FixedCombinations(Constraint):
    """Which combinations there are is not in the recipe: `learn` tells them. A missing cell is a value of a
    combination like any other."""

    computes = False

    known: pa.Array | None = None
    """Texts of the combinations; None: any will do."""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.config.columns)

    @property
    def text(self) -> str:
        return f"combinations of {', '.join(self.columns)}"

    def learn(self, table: pa.Table) -> None:
        self.known = pc.unique(self._texts(table))

    def holds(self, table: pa.Table) -> Bool:
        if self.known is None:
            return np.ones(table.num_rows, dtype=bool)
        found: Bool = np.asarray(pc.is_in(self._texts(table), value_set=self.known))
        return found

    def fault(self, schema: pa.Schema) -> str | None:
        odd = next((name for name in self.columns if not is_supported(schema.field(name).type)), None)
        return None if odd is None else f"{odd!r} is {schema.field(odd).type}; leave it out"

    def step(self, schema: pa.Schema) -> Step:
        return Combined(self.field, self.columns, schema)

    def _texts(self, table: pa.Table) -> pa.Array:
        return level_texts([flat(table[name]) for name in self.columns])
