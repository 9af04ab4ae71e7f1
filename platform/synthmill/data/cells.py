"""Cells of text to typed columns: each column's type follows from all of its values."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_KEY = b"synthmill.cells"
_MARK = {_KEY: b"1"}
_INTEGER = r"^[+-]?\d+$"
_DECIMAL = r"^(?i:[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?|nan)$"
_NOT_FINITE = r"^(?i:[+-]?inf(inity)?|nan)$"
_LEADING_ZERO = r"^(\+|-?0\d)"
"""Numbers that are written in a form of their own: with a plus, or with leading zeros, as codes and telephone
numbers are."""
BARE_EXPONENT = r"^\d+[eE]\d+$"
"""`1E5`: programs that write numbers put a point or a sign somewhere, people who write codes do not."""
_POINT = r"\.|[eE][+-]"
BOOLEAN = r"^(?i:true|false)$"
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_DATETIME = r"^\d{4}-\d{2}-\d{2}[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?$"
PLAIN = ("number", "boolean", "date", "datetime")
PLAIN_OF = {
    "integer": ("number",),
    "numeric": ("number",),
    "boolean": ("boolean",),
    "date": ("date",),
    "datetime": ("datetime", "date"),
}
"""What `plain_mask` can be asked for, of a kind in a schema file."""
_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"
_PATTERNS = {"number": _DECIMAL, "boolean": BOOLEAN, "date": _DATE, "datetime": _DATETIME}


def detect_types(
    table: pa.Table, *, keep_text: frozenset[str] = frozenset(), cells: frozenset[str] | None = None
) -> pa.Table:
    """The table with each string column cast to the narrowest of integer, decimal, boolean, date, datetime
    that all its values fit.

    `keep_text` columns stay strings. Those that are strings at the end are `marked` as coming from text
    cells. Numbers with leading zeros (postal codes) and integers beyond int64 are
    text.
    """
    columns, fields = [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        untyped = column.type == pa.string()
        columns.append(column if name in keep_text or not untyped else _typed(column, keep_offsets=True))
        fields.append(
            pa.field(
                name,
                columns[-1].type,
                metadata=_mark(untyped and (cells is None or name in cells)),
            )
        )
    return pa.table(columns, schema=pa.schema(fields))


def _mark(marked: bool) -> dict[bytes, bytes] | None:
    return _MARK if marked else None


def is_untyped(field: pa.Field) -> bool:
    """Whether a column of text comes from a file in which everything is text."""
    return (field.metadata or {}).get(_KEY) == b"1"


def without_mark(metadata: Mapping[bytes, bytes] | None) -> dict[bytes, bytes] | None:
    """The metadata of a field without what `is_untyped` reads."""
    return {key: value for key, value in (metadata or {}).items() if key != _KEY} or None


def plain_mask(texts: pa.Array, kind: str) -> npt.NDArray[np.bool_]:
    """Which texts (N,) are plain numbers, booleans, ISO dates or ISO times, bool (N,)."""
    mask = pc.match_substring_regex(texts, _PATTERNS[kind])
    if kind == "number":
        mask = pc.and_(mask, pc.invert(pc.match_substring_regex(texts, _LEADING_ZERO)))
    found: npt.NDArray[np.bool_] = np.asarray(mask, dtype=bool)
    return found


def zone_mask(texts: pa.Array) -> npt.NDArray[np.bool_]:
    """Which texts (N,) are times with a zone, bool (N,)."""
    return np.asarray(pc.match_substring_regex(texts, r":\d{2}.*" + _ZONE), dtype=bool)


def offset_mask(texts: pa.Array) -> pa.Array:
    """Which texts (N,) are times with an offset from UTC, for which a type has no place, bool (N,)."""
    offset = pc.match_substring_regex(texts, r":\d{2}.*[+-]\d{2}(:?\d{2})?$")
    return pc.and_(offset, pc.invert(pc.match_substring_regex(texts, r"[+-]00(:?00)?$")))


def are_exponent_codes(texts: pa.Array) -> bool:
    """Whether what looks like numbers with an exponent are codes such as 1E5."""
    bare = pc.match_substring_regex(texts, BARE_EXPONENT)
    return bool(pc.any(bare).as_py() and not pc.any(pc.match_substring_regex(texts, _POINT)).as_py())


def plain_typed(column: pa.ChunkedArray, *, keep_offsets: bool = False) -> pa.ChunkedArray:
    """The narrowest plain type that all values fit; text where there is none, and for times with offsets
    that are to be kept."""
    return _typed(column, keep_offsets=keep_offsets)


def plain_noun(texts: pa.Array) -> str:
    """What most of the texts are, in words."""
    nouns = {"number": "numbers", "boolean": "true or false", "date": "dates", "datetime": "dates and times"}
    return max(nouns.items(), key=lambda entry: plain_mask(texts, entry[0]).sum())[1]


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


def _typed(column: pa.ChunkedArray, *, keep_offsets: bool = False) -> pa.ChunkedArray:
    values = pc.unique(column.combine_chunks()).drop_null()
    if len(values) == 0:
        return column
    try:
        if (
            _all(values, _DECIMAL)
            and not pc.any(pc.match_substring_regex(values, _LEADING_ZERO)).as_py()
            and not are_exponent_codes(values)
        ):
            too_long = _all(values, _INTEGER) and not _fits_int64(values)
            return column if too_long or _all(values, _NOT_FINITE) else as_number(column)
        if _all(values, BOOLEAN):
            return pc.equal(pc.utf8_lower(column), "true")
        if _all(values, _DATE):
            return column.cast(pa.date32())
        if _all(values, _DATETIME) and not (keep_offsets and pc.any(offset_mask(values)).as_py()):
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
