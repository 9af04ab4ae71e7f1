"""Cells of keys and foreign keys, in a form in which those of two tables can be compared."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import Bool, Int64, flat, is_text

_BETWEEN = "\x1f"
SHOWN = 3
"""Rows that a message gives as examples."""


def family(column: pa.ChunkedArray) -> str:
    """What values of a column can be compared with, in words."""
    kind = flat(column).type
    if pa.types.is_integer(kind) or (pa.types.is_floating(kind) and _whole(column)):
        return "whole numbers"
    if is_text(kind):
        return "text"
    # A column of nothing but missing cells goes with any other.
    return "nothing" if pa.types.is_null(kind) or len(column) == column.null_count else str(kind)


def comparable(table: pa.Table, columns: Sequence[str]) -> pa.Array:
    """The columns' cells of each row as one text (N,), null where one of them is missing."""
    texts = [_text(table[name]) for name in columns]
    # No cell ends where another begins: lengths make the joined text one of a single combination.
    parts = [part for text in texts for part in (pc.binary_length(text).cast(pa.string()), text)]
    return texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*parts, _BETWEEN)


def places(cells: pa.Array, keys: pa.Array) -> Int64:
    """For each cell the row of `keys` that equals it: -1 where it is missing, -2 where none does, (N,)."""
    found = np.asarray(pc.index_in(cells, value_set=keys).fill_null(-2), dtype=np.int64)
    return np.where(np.asarray(pc.is_null(cells)), -1, found)


def repeated(cells: pa.Array) -> Int64:
    """Rows whose cell an earlier row has, ascending; missing cells equal none."""
    coded = cells.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
    _, first = np.unique(coded, return_index=True)
    again = np.ones(len(coded), dtype=bool)
    again[first] = False
    return np.flatnonzero(again & (coded >= 0))


def examples(table: pa.Table, columns: Sequence[str], rows: Int64) -> str:
    """`17 (row 4), 19 (row 9) and 3 more`: the cells of the first of those rows, counted from 1."""
    shown = []
    for row in rows[:SHOWN].tolist():
        cells = [str(table[name][row].as_py()) for name in columns]
        shown.append(f"{', '.join(cells)[:40]} (row {row + 1:,})")
    more = f" and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    return ", ".join(shown) + more


def present(index: Int64) -> Bool:
    """Rows that name a row of the other table."""
    return index >= 0


def _whole(column: pa.ChunkedArray) -> bool:
    """Whether floats are whole numbers, as data frames write those of which some are missing."""
    values = np.asarray(flat(column).drop_null())
    values = values[~np.isnan(values)]
    return bool(len(values)) and bool(np.all(np.isfinite(values) & (values == np.round(values))))


def _text(column: pa.ChunkedArray) -> pa.Array:
    array = flat(column)
    if pa.types.is_floating(array.type):
        array = pc.if_else(pc.is_nan(array), None, array)
        if _whole(pa.chunked_array([array])):
            array = array.cast(pa.int64())
    return array.cast(pa.string())
