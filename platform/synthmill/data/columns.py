"""Arrow columns as plain numbers and back: integers, dates, times and decimals as int64, floats as float64.

Every integral type maps to int64 in order and without loss, so huge keys and nanoseconds survive (only
unsigned integers from 2**63 on count as 2**63 - 1); decimals travel as their unscaled integers.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
UInt64 = npt.NDArray[np.uint64]
Numbers = npt.NDArray[Any]
"""int64 for integral columns, float64 for floats."""


@dataclass(frozen=True)
class Rows:
    """The rows being decoded."""

    numbers: UInt64
    """Global row numbers (N,)."""
    noise: Callable[[Int64], UInt64]
    """64 bits of each row at an index (M,): what decoding leaves open follows from them, so that a row
    decodes the same alone, in a block and after a filter."""


_INT64_MAX = np.uint64(2**63 - 1)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type a column has once decoded: a dictionary becomes its values' type, a string view a string, an
    extension what it stores (a UUID: text)."""
    if isinstance(kind, pa.BaseExtensionType):
        known = {"arrow.uuid": pa.string(), "arrow.bool8": pa.bool_()}
        return known.get(kind.extension_name) or plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    return pa.string() if kind == pa.string_view() else kind


def is_text(kind: pa.DataType) -> bool:
    """Whether values of the (plain) type are strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_temporal(kind: pa.DataType) -> bool:
    """Whether values of the type are dates, times or durations."""
    return bool(pa.types.is_temporal(kind)) and not pa.types.is_interval(kind)


def is_integral(kind: pa.DataType) -> bool:
    """Whether `to_int64` takes the type."""
    return bool(
        pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)
    ) or is_temporal(kind)


def is_supported(kind: pa.DataType) -> bool:
    """Whether a column of the (plain) type can be learnt."""
    return is_text(kind) or is_integral(kind) or bool(pa.types.is_floating(kind))


def flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One contiguous array of the plain type."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(column, pa.ChunkedArray):
        column = pa.array([], column.type)
    plain: pa.Array = plain_column(column)
    return plain


def plain_column(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The column with values of its plain type."""
    plain = plain_type(column.type)
    if column.type == plain:
        return column
    if pa.types.is_dictionary(column.type) and column.type.value_type != plain:
        # Arrow casts no dictionary of views, which Polars has, or of extension types, as pandas' intervals.
        if isinstance(column, pa.ChunkedArray):
            return pa.chunked_array([plain_column(chunk) for chunk in column.chunks], plain)
        return plain_column(column.dictionary).take(column.indices)
    if not isinstance(column.type, pa.BaseExtensionType):
        return column.cast(plain)
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([plain_column(chunk) for chunk in column.chunks], plain)
    if column.type.extension_name != "arrow.uuid":
        return column.storage.cast(plain)
    # Arrow has no cast from UUIDs to their text.
    texts = [None if cell is None else str(uuid.UUID(bytes=cell)) for cell in column.storage.to_pylist()]
    return pa.array(texts, plain)


def plain_table(table: pa.Table) -> pa.Table:
    """The table with every column of its plain type: what a data frame's categories become once decoded."""
    columns = [plain_column(column) for column in table.columns]
    fields = [
        field if field.type == column.type else pa.field(field.name, column.type, metadata=field.metadata)
        for field, column in zip(table.schema, columns, strict=True)
    ]
    return pa.table(columns, schema=pa.schema(fields))


def valid_rows(array: pa.Array) -> Bool:
    """True where the array is not null, bool (N,)."""
    if array.null_count == 0:
        return np.ones(len(array), dtype=bool)
    return _numpy(pc.is_valid(array))


def to_int64(array: pa.Array) -> Int64:
    """Integral values as int64 (N,), order kept; 0 where null. Booleans are 0 and 1, dates days, timestamps
    their own unit.

    Raises:
        OverflowError: a decimal with more than 18 digits.
    """
    kind = array.type
    if array.null_count == 0 and kind == pa.int64():
        return _numpy(array)
    if pa.types.is_decimal(kind):
        return _decimal_to_int64(array)
    if array.null_count:
        array = array.fill_null(pa.scalar(0, pa.int64()).cast(_storage(kind)).cast(kind))
    if pa.types.is_uint64(kind):
        return np.minimum(_numpy(array), _INT64_MAX).view(np.int64)
    if is_temporal(kind):
        array = array.cast(_storage(kind))
    return _numpy(array.cast(pa.int64()))


def from_int64(values: Int64, valid: Bool | None, kind: pa.DataType) -> pa.Array:
    """The inverse of `to_int64`; null where `valid` is False. Values outside a narrower type are clipped to
    it."""
    mask = None if valid is None or valid.all() else ~valid
    if pa.types.is_decimal(kind):
        return _decimal_from_int64(values, mask, kind)
    if pa.types.is_boolean(kind):
        return pa.array(values != 0, mask=mask)
    if pa.types.is_uint64(kind):
        return pa.array(np.maximum(values, 0).view(np.uint64), mask=mask)
    storage = _storage(kind)
    if storage.bit_width < 64:
        limits = np.iinfo(storage.to_pandas_dtype())
        values = np.clip(values, limits.min, limits.max)
    array = pa.array(values.astype(storage.to_pandas_dtype(), copy=False), mask=mask)
    return array.cast(kind) if storage != kind else array


def to_float64(array: pa.Array) -> Float64:
    """Floats as float64 (N,); NaN where null."""
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    return np.asarray(array.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def from_float64(values: Float64, valid: Bool | None, kind: pa.DataType) -> pa.Array:
    """Floats of the given width; null where `valid` is False."""
    mask = None if valid is None or valid.all() else ~valid
    return pa.array(values.astype(kind.to_pandas_dtype(), copy=False), type=kind, mask=mask)


def narrowed(value: float, kind: pa.DataType) -> Any:
    """The number of the given floating-point width nearest to `value`, infinite beyond its range; its text is
    as short as can be."""
    with np.errstate(over="ignore"):
        return kind.to_pandas_dtype()(value)


def from_words(words: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values (N,) from their text: the inverse of a cast to text that takes other spellings (`1.50`, `TRUE`,
    `08:00`) too.

    Raises:
        pa.ArrowInvalid: text that is no value of the type.
    """
    if pa.types.is_time(kind):
        # Arrow reads times of day only as a part of a date and time.
        return pc.binary_join_element_wise("1970-01-01", words, " ").cast(pa.timestamp(kind.unit)).cast(kind)
    return words.cast(pa.int64()).cast(kind) if pa.types.is_duration(kind) else words.cast(kind)


def _numpy(array: pa.Array) -> Numbers:
    return array.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _storage(kind: pa.DataType) -> pa.DataType:
    if is_temporal(kind):
        return pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.int8() if pa.types.is_boolean(kind) else kind


def _decimal_to_int64(array: pa.Array) -> Int64:
    """Unscaled integers of a decimal column, 0 where null, (N,)."""
    kind = array.type
    try:
        wide = array.cast(pa.decimal128(38, kind.scale))
    except pa.ArrowInvalid:
        raise OverflowError("more than 38 digits") from None
    words = np.frombuffer(wide.buffers()[1], dtype=np.int64)[
        2 * wide.offset : 2 * (wide.offset + len(wide))
    ].reshape(-1, 2)
    valid = valid_rows(wide)
    low, high = words[:, 0], words[:, 1]
    if not np.array_equal(high[valid], low[valid] >> 63):
        raise OverflowError("more than 18 digits")
    return np.where(valid, low, 0)


def _decimal_from_int64(values: Int64, mask: Bool | None, kind: pa.DataType) -> pa.Array:
    words = np.stack([values, values >> 63], axis=1)
    bits = None if mask is None else pa.py_buffer(np.packbits(~mask, bitorder="little").tobytes())
    wide = pa.Array.from_buffers(
        pa.decimal128(38, kind.scale), len(values), [bits, pa.py_buffer(words.tobytes())]
    )
    return wide.cast(kind)
