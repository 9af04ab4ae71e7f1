"""Avro object container files, by fastavro (the extra `avro`)."""

import io
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa

from synthmill.data.formats.base import (
    BLOCK_ROWS,
    FIELD,
    PACKED,
    TEXT_BYTES,
    Blocks,
    ChunkReader,
    File,
    Format,
    Options,
    Parsed,
    Shown,
    missing_library,
)
from synthmill.errors import DataError

_MIXED = "holds values of several types"


class Avro(Format):
    shown = Shown(name="Avro", extra="avro", endings=(".avro",))
    whole_bytes = TEXT_BYTES * PACKED

    @classmethod
    def is_in(cls, data: bytes) -> bool:
        return data[:4] == b"Obj\x01"

    @classmethod
    def parse(cls, data: bytes, name: str, options: Options) -> Parsed:
        fields, records = _opened(io.BytesIO(data), name)
        return Parsed(table=_table(fields, list(records), name))

    @classmethod
    def blocks(cls, file: File, options: Options) -> Blocks:
        return AvroBlocks(file)


class AvroBlocks(Blocks):
    """Rows of one file. What a column has to hold is known when all of its values were seen: a first pass
    finds that."""

    reads_stored = True

    def __init__(self, file: File) -> None:
        self._file = file
        rows, found = 0, None
        for table in self._tables():
            rows += table.num_rows
            found = table.schema if found is None else self._unified(found, table.schema)
        assert found is not None, "a file without records gives an empty block"
        self.num_rows, self.schema = rows, found

    @property
    def weight_bytes(self) -> int:
        return self._file.num_bytes * Avro.whole_bytes

    def read(self, names: list[str] | None = None) -> Iterator[pa.Table]:
        for table in self._tables():
            try:
                yield table.cast(self.schema)
            except pa.ArrowException as fault:
                raise self._mixed(fault) from None

    def _tables(self) -> Iterator[pa.Table]:
        """Blocks, each column as its own values have it; at least one."""
        fields, records = _opened(io.BufferedReader(ChunkReader(self._file.chunks())), self._file.name)
        some = list(islice(records, BLOCK_ROWS))
        while True:
            yield _table(fields, some, self._file.name)
            some = list(islice(records, BLOCK_ROWS))
            if not some:
                return

    def _unified(self, one: pa.Schema, other: pa.Schema) -> pa.Schema:
        if one.equals(other):
            return one
        try:
            return pa.unify_schemas([one, other], promote_options="permissive")
        except pa.ArrowException as fault:
            raise self._mixed(fault) from None

    def _mixed(self, fault: Exception) -> DataError:
        return DataError(f"{self._file.name}: a column {_MIXED} ({str(fault)[:80]})", field=FIELD)


def _opened(source: Any, name: str) -> tuple[list[dict[str, Any]], Iterator[Any]]:
    """The fields of a file's records, and the records.

    Raises:
        DataError: no records, damaged, or fastavro is not installed.
    """
    try:
        import fastavro
    except ImportError:
        raise missing_library(Avro.shown, name) from None

    def damaged(fault: Exception) -> DataError:
        return DataError(f"{name} can't be read as Avro ({str(fault)[:120]})", field=FIELD)

    try:
        reader = fastavro.reader(source)
        schema: Any = reader.writer_schema
    except DataError:
        raise
    # fastavro raises whatever the damaged bytes lead to.
    except Exception as fault:
        raise damaged(fault) from None
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise DataError(f"{name} holds no records; a table is an Avro file of records", field=FIELD)

    def records() -> Iterator[Any]:
        try:
            yield from reader
        except DataError:
            raise
        except Exception as fault:
            raise damaged(fault) from None

    return schema["fields"], records()


def _table(fields: list[dict[str, Any]], records: list[Any], name: str) -> pa.Table:
    columns = {}
    for field in fields:
        values = [record[field["name"]] for record in records]
        kind = _NARROW.get(_plain(field["type"]) or "")
        try:
            columns[field["name"]] = pa.array(values, kind)
        except (pa.ArrowException, OverflowError) as fault:
            raise DataError(
                f"{name}: column {field['name']!r} {_MIXED} ({str(fault)[:80]})", field=FIELD
            ) from None
    return pa.table(columns)


_NARROW = {"int": pa.int32(), "float": pa.float32()}
"""What Python's values don't say by themselves."""


def _plain(kind: Any) -> str | None:
    """The name of a primitive type, alone or in a union with null."""
    if isinstance(kind, list):
        others = [one for one in kind if one != "null"]
        return _plain(others[0]) if len(others) == 1 else None
    return kind if isinstance(kind, str) else None
