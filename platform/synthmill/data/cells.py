"""Cells of text to typed columns: each column's type follows from all of its values."""

import pyarrow as pa
import pyarrow.compute as pc

_INTEGER = r"^[+-]?\d+$"
_DECIMAL = r"^(?i:[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?|nan)$"
_NOT_FINITE = r"^(?i:[+-]?inf(inity)?|nan)$"
_LEADING_ZERO = r"^[+-]?0\d"
_BOOLEAN = r"^(?i:true|false)$"
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_DATETIME = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?$"
_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"


def detect_types(table: pa.Table, *, keep_text: frozenset[str] = frozenset()) -> pa.Table:
    """The table with each string column cast to the narrowest of integer, decimal, boolean, date, datetime
    that all its values fit.

    `keep_text` columns stay strings. Numbers with leading zeros (postal codes) and integers beyond int64 are
    text.
    """
    columns = [
        column if name in keep_text or column.type != pa.string() else _typed(column)
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return pa.table(columns, names=table.column_names)


def as_number(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as int64 if all values are integers, else float64; `pa.ArrowInvalid` when one is no number."""
    values = pc.unique(column.combine_chunks()).drop_null()
    text = pc.replace_substring_regex(column, r"^\+", "")
    return text.cast(pa.int64() if _all(values, _INTEGER) and _fits_int64(values) else pa.float64())


def as_time(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO text as a timestamp in the coarsest unit of Parquet that loses nothing, UTC where there are
    offsets; else `pa.ArrowInvalid`."""
    values = pc.unique(column.combine_chunks()).drop_null()
    digits = (
        pc.max(pc.binary_length(pc.replace_substring_regex(values, r"^[^.]*\.?(\d*).*$", r"\1"))).as_py() or 0
    )
    unit = "ms" if digits <= 3 else "us" if digits <= 6 else "ns"
    zoned = bool(pc.any(pc.match_substring_regex(values, r":\d{2}.*" + _ZONE)).as_py())
    return column.cast(pa.timestamp(unit, "UTC" if zoned else None))


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    values = pc.unique(column.combine_chunks()).drop_null()
    if len(values) == 0:
        return column
    try:
        if _all(values, _DECIMAL) and not pc.any(pc.match_substring_regex(values, _LEADING_ZERO)).as_py():
            too_long = _all(values, _INTEGER) and not _fits_int64(values)
            return column if too_long or _all(values, _NOT_FINITE) else as_number(column)
        if _all(values, _BOOLEAN):
            return pc.equal(pc.utf8_lower(column), "true")
        if _all(values, _DATE):
            return column.cast(pa.date32())
        if _all(values, _DATETIME):
            return as_time(column)
    except pa.ArrowInvalid:
        return column
    return column


def _all(values: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())


def _fits_int64(values: pa.Array) -> bool:
    try:
        pc.replace_substring_regex(values, r"^\+", "").cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True


def clean(column: pa.ChunkedArray, trim: bool, nulls: pa.Array) -> pa.ChunkedArray:
    """Text trimmed, if so asked, and null where it is one of `nulls`."""
    if trim:
        column = pc.utf8_trim_whitespace(column)
    return (
        pc.if_else(pc.is_in(column, value_set=nulls), pa.scalar(None, pa.string()), column)
        if len(nulls)
        else column
    )
