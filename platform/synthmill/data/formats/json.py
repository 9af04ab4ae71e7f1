"""JSON Lines, and JSON documents that hold one table: an array of objects, an object of columns, or an object
with one array of objects in it."""

import io
import json
import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from synthmill.data.formats.base import FIELD, Blocks, File, Format, Options, Parsed, Shown, guarded
from synthmill.errors import DataError

_MARK = b"\xef\xbb\xbf"
_BEGIN = re.compile(rb'\s*(?:\{\s*(?:"|\})|\[\s*[\{\[\]])')
_DAY = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?$"
_EXACT = float(2**53)
_BLOCK_BYTES = 1 << 20

Record = dict[str, Any]


class Json(Format):
    shown = Shown(name="JSON", endings=(".jsonl", ".ndjson", ".json", ".jsonlines"))

    @classmethod
    def is_in(cls, data: bytes) -> bool:
        return _BEGIN.match(data.removeprefix(_MARK), 0, 1 << 12) is not None

    @classmethod
    def parse(cls, data: bytes, name: str, options: Options) -> Parsed:
        data = data.removeprefix(_MARK)
        check_utf8(data, name)
        if is_lines(data):
            table = fast(data)
            table = _from_records(records_of(data, name), name) if table is None else table
        else:
            table = _from_records(_document(data, name), name)
        if not table.column_names:
            raise DataError(f"{name} holds objects without a value", field=FIELD)
        return _typed(table)

    @classmethod
    def blocks(cls, file: File, options: Options) -> Blocks:
        # It looks at lines as this file does.
        from synthmill.data.formats._json_blocks import JsonBlocks

        return JsonBlocks(file)


def check_utf8(data: bytes, name: str, first_line: int = 1) -> None:
    """DataError for bytes that are no text; names the line."""
    try:
        data.decode()
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + first_line
        raise DataError(f"line {line} of {name} is not UTF-8; save it as UTF-8", field=FIELD) from None


def is_lines(data: bytes) -> bool:
    """Whether the first line is an object by itself."""
    line = next((line for line in io.BytesIO(data) if line.strip()), b"")
    try:
        return isinstance(json.loads(line), dict) and not _is_one(data, line)
    except ValueError:
        # A line cut short among good ones is a fault of JSON Lines, not another form: the second line says.
        return line.lstrip()[:1] == b"{" and data.count(b"\n{") > 0


def _is_one(data: bytes, line: bytes) -> bool:
    """Whether the line is the whole file and its object is a document: one that has a value for more rows."""
    return data.strip() == line.strip() and any(
        isinstance(value, list | dict) for value in json.loads(line).values()
    )


def fast(data: bytes) -> pa.Table | None:
    """By Arrow; None where it would lose something or can't say which line is wrong."""
    size = arrow_json.ReadOptions(use_threads=True, block_size=max(_BLOCK_BYTES, _longest(data)))
    try:
        table = arrow_json.read_json(io.BytesIO(data), read_options=size)
        times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
        if times:
            # Arrow makes timestamps of dates and drops the zone; as text they keep what they say.
            text = arrow_json.ParseOptions(explicit_schema=pa.schema([(name, pa.string()) for name in times]))
            table = arrow_json.read_json(io.BytesIO(data), read_options=size, parse_options=text).select(
                table.column_names
            )
    except pa.ArrowException:
        return None
    # Integers beyond 64 bits come as floats, without a word.
    large = any(
        pa.types.is_floating(column.type) and (pc.max(pc.abs(column)).as_py() or 0.0) >= _EXACT
        for column in table.columns
    )
    return None if large else table


def _longest(data: bytes) -> int:
    """A block must hold the longest line."""
    longest = start = 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        longest, start = max(longest, end - start + 2), end + 1
    return longest


def records_of(data: bytes, name: str, first_line: int = 1) -> list[Record]:
    """The objects of lines, of which the first has that number in the file.

    Raises:
        DataError: a line that is no object; names it.
    """
    found = []
    for number, line in enumerate(io.BytesIO(data), start=first_line):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_once)
        except ValueError as fault:
            raise DataError(
                f"line {number} of {name} is not a JSON object ({str(fault)[:80]}); fix it or leave it out",
                field=FIELD,
            ) from None
        if not isinstance(record, dict):
            raise DataError(f"line {number} of {name} is {_kind(record)}, not an object", field=FIELD)
        found.append(record)
    return found


def _once(pairs: list[tuple[str, Any]]) -> Record:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for i, key in enumerate(names) if key in names[:i])
        raise ValueError(f"two values named {twice!r}")
    return record


def _document(data: bytes, name: str) -> list[Record]:
    """The records of a document, whichever of the usual forms it has."""
    try:
        whole = json.loads(data)
    except ValueError as fault:
        raise DataError(f"{name} is not JSON ({str(fault)[:100]})", field=FIELD) from None
    if isinstance(whole, dict):
        lists = [value for value in whole.values() if _are_records(value)]
        if len(lists) == 1:
            return list(lists[0])
        return _from_columns(whole, name)
    if not _are_records(whole):
        raise DataError(
            f"{name} holds {_kind(whole)}, not a table; write one object a row, as in"
            ' [{"age": 39, "city": "Bern"}, ...]',
            field=FIELD,
        )
    return list(whole)


def _are_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _from_columns(whole: Record, name: str) -> list[Record]:
    """Columns as lists, or as objects by row label (pandas' `to_json`), or pandas' form `split`."""
    if set(whole) >= {"columns", "data"} and isinstance(whole["data"], list):
        return [dict(zip(map(str, whole["columns"]), row, strict=True)) for row in whole["data"]]
    values = list(whole.values())
    if values and all(isinstance(value, dict) for value in values):
        labels = list(values[0])
        if all(list(value) == labels for value in values):
            return [{key: column[label] for key, column in whole.items()} for label in labels]
    if values and all(isinstance(value, list) and len(value) == len(values[0]) for value in values):
        return [dict(zip(whole, row, strict=True)) for row in zip(*values, strict=True)]
    raise DataError(
        f"{name} is an object that holds no table; write one object a line, or an array of objects",
        field=FIELD,
    )


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _from_records(records: list[Record], name: str) -> pa.Table:
    keys = dict.fromkeys(key for record in records for key in record)

    def read() -> pa.Table:
        return pa.table({key: column([record.get(key) for record in records]) for key in keys})

    return guarded(read, name, "JSON")


def column(values: list[Any]) -> pa.Array:
    """Numbers, text, true and false, or nested values; text where they are mixed, as the file writes them."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        for kind in (pa.int64(), pa.uint64()):
            try:
                return pa.array(values, kind)
            except (OverflowError, pa.ArrowInvalid):
                continue
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    if kinds == {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if len(kinds) <= 1:
        return pa.array(values)
    return pa.array([text(value) for value in values], pa.string())


def text(value: Any) -> str | None:
    """A value of a column of mixed ones, as the file writes it."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _typed(table: pa.Table) -> Parsed:
    """JSON has no dates: text that is one in every row may be read as one; so may text that stands among
    numbers, which is how an odd cell looks."""
    cells = set()
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not pa.types.is_string(column.type):
            continue
        if column.null_count < len(column) and are_days(column):
            cells.add(name)
    return Parsed(table=table, cells=frozenset(cells))


def are_days(texts: pa.ChunkedArray | pa.Array) -> bool:
    """Whether all are dates or times, but for those that are missing."""
    values = pc.unique(texts).drop_null()
    return bool(pc.all(pc.match_substring_regex(values, _DAY)).as_py())
