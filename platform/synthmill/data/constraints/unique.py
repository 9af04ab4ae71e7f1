"""Columns whose values together occur once in all rows of an output.

A single key column is made anew from row numbers, and is unique for nothing. Other rows are rejected: shard i
of n takes only rows whose values' keyed hash leaves i when divided by n, and none twice, so that shards never
collide, whoever computes them. That costs n times the rows.
"""

import numpy as np
import pyarrow as pa

from synthmill.data.columns import Bool, UInt64, flat, is_supported, valid_rows
from synthmill.data.constraints.base import Constraint
from synthmill.data.mixing import mix
from synthmill.data.scan.content import content_hashes

_KEY = 0x756E6971


class Unique(Constraint):
    """Rows in which one of the cells is missing equal no other row, as in SQL."""

    computes = False
    by_construction = False

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.config.columns)

    @property
    def text(self) -> str:
        return f"unique {', '.join(self.columns)}"

    def holds(self, table: pa.Table) -> Bool:
        """Rows that equal none before them in the table."""
        hashes, complete = self.hashes(table)
        found, at = ~complete, np.flatnonzero(complete)
        _, first = np.unique(hashes[at], return_index=True)
        found[at[first]] = True
        return found

    def hashes(self, table: pa.Table) -> tuple[UInt64, Bool]:
        """A keyed hash of each row's values (N,), and the rows in which none is missing."""
        complete = np.ones(table.num_rows, dtype=bool)
        for name in self.columns:
            array = flat(table[name])
            complete &= valid_rows(array)
            if pa.types.is_floating(array.type):
                complete &= ~np.asarray(pa.compute.fill_null(pa.compute.is_nan(array), False))
        return mix(content_hashes(table.select(list(self.columns))), _KEY), complete

    def fault(self, schema: pa.Schema) -> str | None:
        odd = next((name for name in self.columns if not is_supported(schema.field(name).type)), None)
        return None if odd is None else f"{odd!r} is {schema.field(odd).type}; leave it out"
