"""Avro object container files, by fastavro (the extra `avro`)."""

import io
from typing import Any

import pyarrow as pa

from synthmill.data.formats.base import FIELD, Format, Options, Parsed, Shown, missing_library
from synthmill.errors import DataError


class Avro(Format):
    shown = Shown(name="Avro", extra="avro", endings=(".avro",))

    @classmethod
    def is_in(cls, data: bytes) -> bool:
        return data[:4] == b"Obj\x01"

    @classmethod
    def parse(cls, data: bytes, name: str, options: Options) -> Parsed:
        try:
            import fastavro
        except ImportError:
            raise missing_library(cls.shown, name) from None
        try:
            reader = fastavro.reader(io.BytesIO(data))
            schema: Any = reader.writer_schema
            records = list(reader)
        # fastavro raises whatever the damaged bytes lead to.
        except Exception as fault:
            raise DataError(f"{name} can't be read as Avro ({str(fault)[:120]})", field=FIELD) from None
        if not isinstance(schema, dict) or schema.get("type") != "record":
            raise DataError(f"{name} holds no records; a table is an Avro file of records", field=FIELD)
        return Parsed(table=_table(schema["fields"], records, name))


def _table(fields: list[dict[str, Any]], records: list[Any], name: str) -> pa.Table:
    columns = {}
    for field in fields:
        values = [record[field["name"]] for record in records]
        kind = _NARROW.get(_plain(field["type"]) or "")
        try:
            columns[field["name"]] = pa.array(values, kind)
        except (pa.ArrowException, OverflowError) as fault:
            raise DataError(
                f"{name}: column {field['name']!r} holds values of several types ({str(fault)[:80]})",
                field=FIELD,
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
