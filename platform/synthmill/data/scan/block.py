"""A block of a scanned source: rows that follow each other, typed as the plan says."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from synthmill.data.columns import Int64
from synthmill.data.scan.plan import ColumnPlan


@dataclass(frozen=True)
class Block:
    """Rows that follow each other in the source."""

    table: pa.Table
    """Typed; text is dictionary-encoded."""
    first_row: int


def typed(columns: Sequence[ColumnPlan], raw: pa.Table, first_row: int) -> tuple[Block, dict[str, Int64]]:
    """A block, and where in it each column has cells that do not fit; of columns without one, nothing."""
    found, odd = [], {}
    for column in columns:
        values, cells = column.apply(raw[column.name])
        found.append(values)
        if cells is not None:
            odd[column.name] = np.flatnonzero(cells)
    return Block(pa.table(found, names=[column.name for column in columns]), first_row), odd
