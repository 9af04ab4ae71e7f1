"""Rows as JSON text by Arrow's kernels: a column at a time and without the interpreter's lock."""

import base64
import json
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

FEW_ROWS = 160
"""Up to here the interpreter is faster: a kernel call for each column costs more than so few rows do."""
Text = tuple[pa.Array, str]
"""(each value as JSON text, the quote that still belongs around every value)"""


def json_objects(table: pa.Table, ending: str) -> pa.StringArray:
    """One JSON object a row, (N,), each with `ending` after it; NaN and infinities are null."""
    return _few_objects(table, ending) if table.num_rows <= FEW_ROWS else _many_objects(table, ending)


def _few_objects(table: pa.Table, ending: str) -> pa.StringArray:
    """The same text, made row by row."""
    names = [f"{json.dumps(name, ensure_ascii=False)}: " for name in table.column_names]
    columns = [_few_texts(one_chunk(column)) for column in table.columns]
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
        values, quote = _json_values(one_chunk(table.column(number)))
        parts += [pa.scalar(f"{literal}{json.dumps(name, ensure_ascii=False)}: {quote}"), values]
        literal = f"{quote}, "
    closing = pa.scalar(f"{literal.removesuffix(', ')}}}{ending}")
    return pc.binary_join_element_wise(*parts, closing, "")


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _json_values(array: pa.Array) -> tuple[pa.Array, str]:
    """Each value as JSON text, "null" where there is none, and the quote that still belongs around every
    value."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _json_values(array.cast(kind.value_type))
    writer = next((write for holds, write in _WRITERS if holds(kind)), any_text)
    text, quote = writer(array)
    # Quotes are joined on with the column's name, in one kernel call, unless a null must stand without them.
    if not text.null_count:
        return text, quote
    text = pc.binary_join_element_wise(pa.scalar(quote), text, pa.scalar(quote), "") if quote else text
    return text.fill_null("null"), ""


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
    # Hardly any text needs an escape, and looking at the bytes is quicker than encoding every value.
    data = text.buffers()[2]
    if data is None or data.size == 0:
        return text, '"'
    offsets = np.frombuffer(text.buffers()[1], np.int32)
    data_B = np.frombuffer(data, np.uint8)[offsets[text.offset] : offsets[text.offset + len(text)]]
    if not _ESCAPED[data_B].any():
        return text, '"'
    # Each different value once: categories repeat.
    encoded = text.dictionary_encode()
    escaped = pa.array(
        [json.dumps(value, ensure_ascii=False) for value in encoded.dictionary.to_pylist()], pa.string()
    )
    return escaped.take(encoded.indices), ""


def any_text(array: pa.Array) -> Text:
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
