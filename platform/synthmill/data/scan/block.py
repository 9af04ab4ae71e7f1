"""A block of a scanned source: rows that follow each other, typed as the plan says."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from synthmill.data.scan.plan import Plan

ODD_ROWS = 1_000
"""Rows with cells that do not fit of which each column's plan is told."""


@dataclass(frozen=True)
class Block:
    """Rows that follow each other in the source."""

    table: pa.Table
    """Typed; text is dictionary-encoded."""
    first_row: int


def typed(
    plan: Plan, raw: pa.Table, first_row: int, counts: dict[str, int] | None = None
) -> tuple[Block, np.ndarray | None]:
    """A block, and its rows that have a cell that does not fit: of each column only so many, where they are
    counted."""
    columns, odd = [], None
    for column in plan.columns:
        values, cells = column.apply(raw[column.name])
        columns.append(values)
        if cells is None:
            continue
        if counts is not None:
            at = np.flatnonzero(cells)
            cells = np.zeros(len(cells), dtype=bool)
            cells[at[: max(0, ODD_ROWS - counts[column.name])]] = True
            counts[column.name] += len(at)
        odd = cells if odd is None else odd | cells
    return Block(pa.table(columns, names=[column.name for column in plan.columns]), first_row), odd
