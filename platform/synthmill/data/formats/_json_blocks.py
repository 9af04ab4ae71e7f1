"""JSON Lines, block by block: the same columns that reading the whole file gives.

JSON says the type of each value and none of a column, so a first pass over all lines finds what every column
has to hold; blocks are then read as that.
"""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from synthmill.data.delimited import HEAD_BYTES
from synthmill.data.formats import json as whole
from synthmill.data.formats.base import FIELD, PACKED, TEXT_BYTES, Blocks, File, WholeError, guarded
from synthmill.errors import DataError

BLOCK_BYTES = 8 << 20
LONGEST_LINE = 256 << 20
_MARK = b"\xef\xbb\xbf"


@dataclass
class _Column:
    """What the values of a column are, over all lines."""

    kinds: set[str] = field(default_factory=set)
    """Of int, float, bool, str, list, dict: those that occur."""
    least: int = 0
    most: int = 0
    """Of whole numbers, zero among them."""
    nested: pa.DataType | None = None
    are_days: bool = True
    """Whether all texts are dates or times."""

    def see(self, array: pa.ChunkedArray) -> None:
        """Values of one block, as they would be a column by themselves."""
        kind = array.type
        if array.null_count == len(array):
            return
        if pa.types.is_integer(kind):
            ends = pc.min_max(array).as_py()
            self.kinds.add("int")
            self.least, self.most = min(self.least, ends["min"]), max(self.most, ends["max"])
        elif pa.types.is_floating(kind):
            self.kinds.add("float")
        elif pa.types.is_boolean(kind):
            self.kinds.add("bool")
        elif pa.types.is_string(kind):
            self.kinds.add("str")
            self.are_days = self.are_days and whole.are_days(array)
        else:
            name = "list" if pa.types.is_list(kind) else "dict"
            self.kinds.add(name)
            if self.kinds == {name}:
                # Of others nothing but their text is kept.
                schemas = [pa.schema([("", one)]) for one in (self.nested, kind) if one is not None]
                self.nested = pa.unify_schemas(schemas, promote_options="permissive").field(0).type

    def see_values(self, values: list[Any]) -> None:
        """The same of values that need not be of one type."""
        for kind in (bool, int, float, str, list, dict):
            some: list[Any] = [value for value in values if type(value) is kind]
            if kind is int and some:
                self.kinds.add("int")
                self.least, self.most = min(self.least, *some), max(self.most, *some)
            elif some:
                self.see(pa.chunked_array([whole.column(some)]))

    @property
    def type(self) -> pa.DataType:
        """As `formats.json` types a column of all these values."""
        if not self.kinds:
            return pa.null()
        if self.kinds == {"int"}:
            if self.least >= -(2**63) and self.most < 2**63:
                return pa.int64()
            return pa.uint64() if self.least >= 0 and self.most < 2**64 else pa.string()
        if self.kinds <= {"int", "float"}:
            return pa.float64()
        if self.kinds in ({"list"}, {"dict"}):
            return self.nested
        return pa.bool_() if self.kinds == {"bool"} else pa.string()


class JsonBlocks(Blocks):
    """Rows of one file, one a line."""

    reads_stored = True

    def __init__(self, file: File) -> None:
        self._file = file
        if not _begins_with_row(file):
            raise WholeError(f"{file.name} is a JSON document, not one object a line")
        columns, rows = guarded(self._columns, file.name, "JSON")
        if not columns:
            raise DataError(f"{file.name} holds objects without a value", field=FIELD)
        self.num_rows = rows
        self.schema = pa.schema([(name, column.type) for name, column in columns.items()])
        self.cells = frozenset(
            name for name, column in columns.items() if column.kinds == {"str"} and column.are_days
        )

    @property
    def weight_bytes(self) -> int:
        return self._file.num_bytes * TEXT_BYTES * (PACKED if self._file.is_packed else 1)

    def read(self, names: list[str] | None = None) -> Iterator[pa.Table]:
        for lines, first_line in self._lines():
            table = self._fast(lines)
            if table is None:
                records = whole.records_of(lines, self._file.name, first_line)
                table = guarded(functools.partial(self._slow, records), self._file.name, "JSON")
            if table.num_rows:
                yield table

    def _columns(self) -> tuple[dict[str, _Column], int]:
        """All columns in order of their first values, and how many rows there are."""
        found: dict[str, _Column] = {}
        rows = 0
        for lines, first_line in self._lines():
            table = whole.fast(lines)
            if table is not None:
                rows += table.num_rows
                for name, column in zip(table.column_names, table.columns, strict=True):
                    found.setdefault(name, _Column()).see(column)
                continue
            records = whole.records_of(lines, self._file.name, first_line)
            rows += len(records)
            for name in dict.fromkeys(key for record in records for key in record):
                values = [record.get(name) for record in records]
                found.setdefault(name, _Column()).see_values(values)
        return found, rows

    def _fast(self, lines: bytes) -> pa.Table | None:
        """By Arrow; None where a value is not of its column's type."""
        try:
            return arrow_json.read_json(
                pa.BufferReader(lines),
                read_options=arrow_json.ReadOptions(block_size=max(BLOCK_BYTES, len(lines) + 1)),
                parse_options=arrow_json.ParseOptions(
                    explicit_schema=self.schema, unexpected_field_behavior="ignore"
                ),
            )
        except pa.ArrowException:
            return None

    def _slow(self, records: list[dict[str, Any]]) -> pa.Table:
        arrays = []
        for one in self.schema:
            values = [record.get(one.name) for record in records]
            if pa.types.is_floating(one.type):
                values = [None if value is None else float(value) for value in values]
            elif pa.types.is_string(one.type):
                values = [whole.text(value) for value in values]
            arrays.append(pa.array(values, one.type))
        return pa.table(arrays, schema=self.schema)

    def _lines(self) -> Iterator[tuple[bytes, int]]:
        """Whole lines, some megabytes at a time, and the number of the first, from 1.

        Raises:
            DataError: not UTF-8; names the line.
        """
        held, size, number, is_first = [], 0, 1, True
        for chunk in self._file.chunks():
            held.append(chunk.removeprefix(_MARK) if is_first else chunk)
            size, is_first = size + len(chunk), False
            if size < BLOCK_BYTES or b"\n" not in chunk:
                if size > LONGEST_LINE:
                    raise DataError(
                        f"line {number} of {self._file.name}, or one behind it, is longer than"
                        f" {LONGEST_LINE >> 20} MiB; write one object a line",
                        field=FIELD,
                    )
                continue
            data = b"".join(held)
            cut = data.rindex(b"\n") + 1
            yield self._checked(data[:cut], number), number
            number += data.count(b"\n", 0, cut)
            held, size = [data[cut:]], len(data) - cut
        if size:
            yield self._checked(b"".join(held), number), number

    def _checked(self, lines: bytes, number: int) -> bytes:
        whole.check_utf8(lines, self._file.name, number)
        return lines


def _begins_with_row(file: File) -> bool:
    """Whether the first line is an object by itself, of which more may follow."""
    head = file.head.removeprefix(_MARK)
    if len(file.head) < HEAD_BYTES and not whole.is_lines(head):
        return False
    line, end, _ = head.lstrip().partition(b"\n")
    if not end and len(file.head) >= HEAD_BYTES:
        # A line as long as that is a document.
        return False
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
