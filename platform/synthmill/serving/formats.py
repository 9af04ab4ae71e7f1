"""Rows as bytes, a piece at a time, in the format a client accepts; and how it says that they are
AI-generated.

JSON and NDJSON are made by Arrow's kernels, a column at a time and without the interpreter's lock. A stream
that was cut differs from a whole one: NDJSON ends in a line with the count, JSON in its closing bracket,
Arrow in its end-of-stream marker, Parquet in its footer, CSV in the last chunk of the HTTP message.
"""

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from synthmill.data.origin import Form
from synthmill.serving.json_rows import any_text, json_objects, one_chunk

END_KEY = "synthmill.end"


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
        # Arrow's own buffers: a request's slice is cut out by offsets, without an object for each row.
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

    def __init__(self, schema: pa.Schema, label: Label, form: Form | None = None) -> None:
        self.schema = schema
        self.form = form or Form(schema)
        """How a dataset publishes the columns; text formats have no types to say it with."""
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
        head = {
            "object": "rows",
            "ai_generated": True,
            "model": self.label.ref,
            "digest": self.label.digest,
            "seed": self.label.seed,
        }
        return json.dumps(head)[:-1].encode() + b', "rows": [\n'

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
        # JSON has no comma after the last row, which is known only when the next piece comes.
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
        trailer = {
            "num_rows": self.rows,
            "ai_generated": True,
            "model": self.label.ref,
            "digest": self.label.digest,
            "seed": self.label.seed,
        }
        return json.dumps({END_KEY: trailer}).encode() + b"\n"

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
        schema = self.form.schema
        self._labelled = schema.with_metadata({**(schema.metadata or {}), **self.label.metadata()})
        self._writer = self._open(self._drain, self._labelled)
        return self._drain.take()

    def piece(self, table: pa.Table) -> bytes:
        self.rows += table.num_rows
        if table.num_rows:
            # The labels are in the schema, which the writer compares.
            self._writer.write_table(self.form.write(table).cast(self._labelled))
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


def _flat(table: pa.Table) -> pa.Table:
    """CSV has no nested or binary cells: they become JSON text."""
    for number, field in enumerate(table.schema):
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type):
            table = table.set_column(number, field.name, any_text(one_chunk(table.column(number)))[0])
    return table
