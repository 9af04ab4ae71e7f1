"""CSV bytes to a typed table: every cell is read as text, then each column's type follows from all of its
values."""

import csv as text_csv
import io
import re

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from synthmill.errors import DataError

FIELD = "data.source"

_INTEGER = r"^[+-]?\d+$"
_DECIMAL = r"^(?i:[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?|nan)$"
_NOT_FINITE = r"^(?i:[+-]?inf(inity)?|nan)$"
_LEADING_ZERO = r"^[+-]?0\d"
_BOOLEAN = r"^(?i:true|false)$"
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_DATETIME = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?$"
_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_PREFIX = re.compile(
    rb'(?:\xef\xbb\xbf)?(?: *[\r\n])*(?i:"?sep=(?P<delimiter>[^"\r\n\x80-\xff])"? *\r?\n(?: *[\r\n])*)?'
)
"""What may stand before the header: a byte order mark, empty lines, and the line in which Excel names the
delimiter."""
_DELIMITERS = (b",", b";", b"\t", b"|")
_QUOTED = re.compile(rb'(?:^|(?<=[,;\t|]))"(?:[^"]|"")*+"')
_HEADER = re.compile(rb"(?:" + _QUOTED.pattern + rb"|[^\r\n])*+")
_HEADER_BYTES = 1 << 20


def read_csv(data: bytes, *, name: str, trim: bool, null_values: tuple[str, ...]) -> pa.Table:
    """All columns as strings, trimmed, `null_values` null.

    Raises:
        DataError: empty, header only, duplicate column names, a row with too few or too many cells, not
        UTF-8.
    """
    if data[:2] in _UTF16:
        raise DataError(f"{name} is UTF-16; save it as UTF-8", field=FIELD)
    before = _PREFIX.match(data)
    assert before is not None
    data, told = data[before.end() :], before["delimiter"]
    if not data.strip():
        raise DataError(f"{name} is empty; it needs a header line and rows", field=FIELD)
    delimiter = (told or _delimiter(data)).decode()
    names = _header(data, name, delimiter)
    table = _parse(data, name, names, delimiter, skipped_lines=len((before[0] + b".").splitlines()) - 1)
    if table.num_rows == 0:
        raise DataError(f"{name} has a header but no rows", field=FIELD)
    nulls = pa.array(sorted(set(null_values)), pa.string())
    columns = [_clean(column, trim, nulls) for column in table.columns]
    return pa.table(columns, names=names)


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


def _clean(column: pa.ChunkedArray, trim: bool, nulls: pa.Array) -> pa.ChunkedArray:
    if trim:
        column = pc.utf8_trim_whitespace(column)
    return (
        pc.if_else(pc.is_in(column, value_set=nulls), pa.scalar(None, pa.string()), column)
        if len(nulls)
        else column
    )


def _delimiter(data: bytes) -> bytes:
    """The comma, unless the header has none outside quotes and has semicolons, tabs or bars."""
    header = _HEADER.match(data, 0, _HEADER_BYTES)
    assert header is not None
    bare = _QUOTED.sub(b"", header[0])
    return next((mark for mark in _DELIMITERS if mark in bare), b",")


def _header(data: bytes, name: str, delimiter: str) -> list[str]:
    """The trimmed column names; `column_1` where the first has none, as data frames write their index."""
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="")
    try:
        cells = next(text_csv.reader(text, delimiter=delimiter), [])
    except UnicodeDecodeError:
        raise _not_utf8(name) from None
    except text_csv.Error as fault:
        raise DataError(
            f"the header of {name} can't be read ({fault}); look for a quote that is not closed", field=FIELD
        ) from None
    names = [cell.strip() or f"column_{position}" for position, cell in enumerate(cells, start=1)]
    for position, column in enumerate(names):
        if column in names[:position]:
            raise DataError(f"{name} has two columns named {column!r}; rename one", field=FIELD)
    return names


def _parse(data: bytes, name: str, columns: list[str], delimiter: str, *, skipped_lines: int) -> pa.Table:
    ragged: list[csv.InvalidRow] = []

    def keep_first(row: csv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    block_bytes = max(1 << 20, min(len(data) + 1, 1 << 30))
    try:
        return csv.read_csv(
            io.BytesIO(data),
            read_options=csv.ReadOptions(
                use_threads=False, block_size=block_bytes, column_names=columns, skip_rows_after_names=1
            ),
            parse_options=csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=keep_first
            ),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as fault:
        if ragged:
            row = ragged[0]
            line = "" if row.number is None else f"line {row.number + skipped_lines} of "
            raise DataError(
                f"{line}{name} has {row.actual_columns} cells where the header has {row.expected_columns};"
                " fix or quote it",
                field=FIELD,
            ) from None
        if "UTF8" in str(fault):
            raise _not_utf8(name) from None
        raise DataError(
            f"{name} is not a CSV file ({str(fault).splitlines()[0][:100]})", field=FIELD
        ) from None


def _not_utf8(name: str) -> DataError:
    return DataError(f"{name} is not UTF-8; save it as UTF-8", field=FIELD)
