"""Rows as bytes, a piece at a time, in the format a client accepts; and how it says that they are
AI-generated.

JSON and NDJSON are made by Arrow's kernels, a column at a time and without the interpreter's lock. A stream
that was cut can be told from a whole one: NDJSON ends in a line with the count, JSON in its closing bracket,
Arrow in its end-of-stream marker, Parquet in its footer, CSV in the last chunk of the HTTP message.
"""

import base64
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from synthmill.errors import UserError

END_KEY = "synthmill.end"
FEW_ROWS = 160


class Label(NamedTuple):
    """What made the rows."""

    ref: str
    digest: str
    seed: int | None
    metadata: Callable[[], dict[str, str]]
    """Key-value metadata for files: the same labels as in published datasets."""


class Drawn:
    """Rows of one batch, shared by the requests that it answers; text is made once for all of them."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._text: dict[str, tuple[memoryview, Any]] = {}

    def text(self, start: int, rows: int, ending: str) -> bytes:
        """Rows `start .. start + rows` as JSON objects, each followed by `ending`."""
        if ending not in self._text:
            lines = json_objects(self.table, ending)
            offsets = memoryview(lines.buffers()[1]).cast("i")
            self._text[ending] = memoryview(lines.buffers()[2]), offsets
        data, offsets = self._text[ending]
        return bytes(data[offsets[start] : offsets[start + rows]])


class Format(ABC):
    """Encodes one answer. `piece` may be called with empty tables."""

    media_type: str
    suffix: str

    def __init__(self, schema: pa.Schema, label: Label) -> None:
        self.schema = schema
        self.label = label
        self.rows = 0

    @abstractmethod
    def begin(self) -> bytes:
        """What comes before the first row."""

    @abstractmethod
    def piece(self, table: pa.Table) -> bytes:
        """Some rows."""

    @abstractmethod
    def end(self) -> bytes:
        """What comes after the last row."""

    def whole(self, drawn: Drawn, start: int, rows: int, columns: list[str] | None) -> bytes:
        """A complete answer from a slice of a batch."""
        table = drawn.table.slice(start, rows)
        head = self.begin()
        return head + self.piece(table.select(columns) if columns is not None else table) + self.end()


class Json(Format):
    """One object with the rows in an array."""

    media_type = "application/json"
    suffix = "json"

    def begin(self) -> bytes:
        told = {
            "object": "rows",
            "ai_generated": True,
            "model": self.label.ref,
            "digest": self.label.digest,
            "seed": self.label.seed,
        }
        return json.dumps(told)[:-1].encode() + b', "rows": [\n'

    def piece(self, table: pa.Table) -> bytes:
        return self._joined(
            Drawn(table).text(0, table.num_rows, ",\n") if table.num_rows else b"", table.num_rows
        )

    def end(self) -> bytes:
        return f'\n], "num_rows": {self.rows}}}\n'.encode()

    def whole(self, drawn: Drawn, start: int, rows: int, columns: list[str] | None) -> bytes:
        if columns is not None:
            return super().whole(drawn, start, rows, columns)
        return self.begin() + self._joined(drawn.text(start, rows, ",\n"), rows) + self.end()

    def _joined(self, text: bytes, rows: int) -> bytes:
        separator = b",\n" if self.rows and rows else b""
        self.rows += rows
        return separator + text[:-2]


class NdJson(Format):
    """One object a line, and a last line `{"synthmill.end": {"num_rows": ...}}`."""

    media_type = "application/x-ndjson"
    suffix = "ndjson"

    def begin(self) -> bytes:
        return b""

    def piece(self, table: pa.Table) -> bytes:
        self.rows += table.num_rows
        return Drawn(table).text(0, table.num_rows, "\n") if table.num_rows else b""

    def end(self) -> bytes:
        told = {
            "num_rows": self.rows,
            "ai_generated": True,
            "model": self.label.ref,
            "digest": self.label.digest,
            "seed": self.label.seed,
        }
        return json.dumps({END_KEY: told}).encode() + b"\n"

    def whole(self, drawn: Drawn, start: int, rows: int, columns: list[str] | None) -> bytes:
        if columns is not None:
            return super().whole(drawn, start, rows, columns)
        self.rows += rows
        return drawn.text(start, rows, "\n") + self.end()


class Csv(Format):
    """RFC 4180 with a header line; text is always quoted, missing values are empty."""

    media_type = "text/csv"
    suffix = "csv"

    def begin(self) -> bytes:
        return self._write(self.schema.empty_table(), header=True)

    def piece(self, table: pa.Table) -> bytes:
        self.rows += table.num_rows
        return self._write(table, header=False)

    def end(self) -> bytes:
        return b""

    def _write(self, table: pa.Table, *, header: bool) -> bytes:
        sink = io.BytesIO()
        pa.csv.write_csv(_flat(table), sink, pa.csv.WriteOptions(include_header=header))
        return sink.getvalue()


class _Drain(io.RawIOBase):
    """A file that is emptied as it is written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def tell(self) -> int:
        return self._position

    def take(self) -> bytes:
        data, self._parts = b"".join(self._parts), []
        return data


class _Written(Format):
    """A format that a PyArrow writer writes."""

    def begin(self) -> bytes:
        self._drain = _Drain()
        self._labelled = self.schema.with_metadata({**(self.schema.metadata or {}), **self.label.metadata()})
        self._writer = self._open(self._drain, self._labelled)
        return self._drain.take()

    def piece(self, table: pa.Table) -> bytes:
        self.rows += table.num_rows
        if table.num_rows:
            self._writer.write_table(table.cast(self._labelled))
        return self._drain.take()

    def end(self) -> bytes:
        self._writer.close()
        return self._drain.take()

    @abstractmethod
    def _open(self, sink: _Drain, schema: pa.Schema) -> Any:
        """The writer."""


class Arrow(_Written):
    """Arrow IPC stream; the labels stand in the schema's metadata."""

    media_type = "application/vnd.apache.arrow.stream"
    suffix = "arrows"

    def _open(self, sink: _Drain, schema: pa.Schema) -> Any:
        return pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), schema)


class Parquet(_Written):
    """Parquet, a row group for each piece; the labels stand in the footer."""

    media_type = "application/vnd.apache.parquet"
    suffix = "parquet"

    def _open(self, sink: _Drain, schema: pa.Schema) -> Any:
        return pa.parquet.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd")


FORMATS: dict[str, type[Format]] = {form.media_type: form for form in (Json, NdJson, Csv, Arrow, Parquet)}


class NotAcceptableError(UserError):
    """No format that the client accepts is offered."""


@lru_cache(maxsize=256)
def negotiate(accept: str | None) -> type[Format]:
    """The offered format that an Accept header prefers; JSON when it does not care.

    Raises:
        NotAcceptableError: names the header and the formats there are.
    """
    ranges = [_preference(item) for item in (accept or "*/*").split(",")]
    offers = []
    for name, form in FORMATS.items():
        # The most precise range decides (RFC 9110, 12.5.1); of equal ones the first.
        matching = [
            (_precision(range_), -place, quality)
            for place, (range_, quality) in enumerate(ranges)
            if _matches(range_, name)
        ]
        _, place, quality = max(matching, default=(0, 0, 0.0))
        if quality > 0:
            offers.append((quality, place, form))
    if not offers:
        raise NotAcceptableError(
            f"can't answer as {accept!r}; there is: {', '.join(FORMATS)}", field="Accept"
        )
    return max(offers, key=lambda offer: offer[:2])[2]


def _preference(item: str) -> tuple[str, float]:
    media_type, *parameters = (part.strip().lower() for part in item.split(";"))
    quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    try:
        return media_type, float(quality)
    except ValueError:
        return media_type, 0.0


def _matches(pattern: str, media_type: str) -> bool:
    return pattern in ("*/*", media_type) or (pattern.endswith("/*") and media_type.startswith(pattern[:-1]))


def _precision(pattern: str) -> int:
    return 0 if pattern == "*/*" else 1 if pattern.endswith("/*") else 2


def json_objects(table: pa.Table, ending: str) -> pa.StringArray:
    """One JSON object a row, (N,), each with `ending` after it; NaN and infinities are null."""
    return _few_objects(table, ending) if table.num_rows <= FEW_ROWS else _many_objects(table, ending)


def _few_objects(table: pa.Table, ending: str) -> pa.StringArray:
    """The same text: for few rows, a kernel call for each column costs more than the rows do."""
    names = [f"{json.dumps(name, ensure_ascii=False)}: " for name in table.column_names]
    columns = [_few_texts(_one_chunk(column)) for column in table.columns]
    rows = (
        ", ".join([name + text for name, text in zip(names, row, strict=True)])
        for row in zip(*columns, strict=True)
    )
    return pa.array([f"{{{row}}}{ending}" for row in rows], pa.string())


def _few_texts(array: pa.Array) -> list[str]:
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return ["null" if value is None else encode_basestring(value) for value in array.to_pylist()]
    if pa.types.is_integer(kind):
        return ["null" if value is None else str(value) for value in array.to_pylist()]
    text, quote = _json_values(array)
    return [f"{quote}{value}{quote}" for value in text.to_pylist()]


def _many_objects(table: pa.Table, ending: str) -> pa.StringArray:
    literal, parts = "{", []
    for number, name in enumerate(table.column_names):
        values, quote = _json_values(_one_chunk(table.column(number)))
        parts += [pa.scalar(f"{literal}{json.dumps(name, ensure_ascii=False)}: {quote}"), values]
        literal = f"{quote}, "
    closing = pa.scalar(f"{literal.removesuffix(', ')}}}{ending}")
    return pc.binary_join_element_wise(*parts, closing, "")


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _json_values(array: pa.Array) -> tuple[pa.Array, str]:
    """Each value as JSON text, "null" where there is none, and the quote that still belongs around every
    value."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _json_values(array.cast(kind.value_type))
    writer = next((write for holds, write in _WRITERS if holds(kind)), _any_text)
    text, quote = writer(array)
    if not text.null_count:
        return text, quote
    text = pc.binary_join_element_wise(pa.scalar(quote), text, pa.scalar(quote), "") if quote else text
    return text.fill_null("null"), ""


Text = tuple[pa.Array, str]


def _plain_text(array: pa.Array) -> Text:
    return array.cast(pa.string()), ""


def _float_text(array: pa.Array) -> Text:
    return pc.if_else(pc.is_finite(array), array.cast(pa.string()), pa.scalar(None, pa.string())), ""


def _clock_text(array: pa.Array) -> Text:
    return array.cast(pa.string()), '"'


def _timestamp_text(array: pa.Array) -> Text:
    return pc.replace_substring(array.cast(pa.string()), " ", "T", max_replacements=1), '"'


def _string_text(array: pa.Array) -> Text:
    text = array.cast(pa.string())
    if not _needs_escape(text):
        return text, '"'
    encoded = text.dictionary_encode()
    escaped = pa.array(
        [json.dumps(value, ensure_ascii=False) for value in encoded.dictionary.to_pylist()], pa.string()
    )
    return escaped.take(encoded.indices), ""


def _needs_escape(text: pa.StringArray) -> bool:
    data = text.buffers()[2]
    if data is None or data.size == 0:
        return False
    offsets = np.frombuffer(text.buffers()[1], np.int32)
    data_B = np.frombuffer(data, np.uint8)[offsets[text.offset] : offsets[text.offset + len(text)]]
    return bool(_ESCAPED[data_B].any())


def _any_text(array: pa.Array) -> Text:
    values = [
        None if value is None else json.dumps(value, default=_jsonable, ensure_ascii=False)
        for value in array.to_pylist()
    ]
    return pa.array(values, pa.string()), ""


def _jsonable(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


_ESCAPED = np.array([byte < 0x20 or byte in (0x22, 0x5C) for byte in range(256)])
_WRITERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], Text]], ...] = (
    (pa.types.is_boolean, _plain_text),
    (pa.types.is_integer, _plain_text),
    (pa.types.is_decimal, _plain_text),
    (pa.types.is_floating, _float_text),
    (pa.types.is_string, _string_text),
    (pa.types.is_large_string, _string_text),
    (pa.types.is_timestamp, _timestamp_text),
    (pa.types.is_date, _clock_text),
    (pa.types.is_time, _clock_text),
)


def _flat(table: pa.Table) -> pa.Table:
    """CSV has no nested or binary cells: they become JSON text."""
    for number, field in enumerate(table.schema):
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type):
            table = table.set_column(number, field.name, _any_text(_one_chunk(table.column(number)))[0])
    return table
