"""A hash of each row's content that costs little enough for 100 million rows: the same for the same cells in
every block, process and version.

Text is hashed by tabulation (Zobrist 1970): the sum of a random 64-bit word for each byte and its place, one
gather and one segmented sum for a whole block.
"""

import hashlib
from functools import lru_cache

import numpy as np
import pyarrow as pa

from synthmill.data.columns import (
    UInt64,
    flat,
    is_integral,
    is_supported,
    is_text,
    plain_type,
    to_float64,
    to_int64,
    valid_rows,
)
from synthmill.data.mixing import mix

_LONGEST = 256
"""Bytes of a text that the table has words for; longer texts, which are few, are hashed one by one."""
_NULL = np.uint64(0x6E756C6C6E756C6C)


def content_hashes(table: pa.Table | pa.RecordBatch) -> UInt64:
    """A 64-bit hash of each row (N,); rows of equal cells have equal hashes."""
    total = np.zeros(table.num_rows, dtype=np.uint64)
    keys = mix(np.arange(table.num_columns, dtype=np.uint64), 3) | np.uint64(1)
    with np.errstate(over="ignore"):
        # A sum of products with a random odd number a column: one cell's change always changes the sum.
        for column, key in zip(table.columns, keys, strict=True):
            # What no model can learn stops the job, but not before all of it is named.
            if is_supported(plain_type(column.type)):
                total += cell_words(column) * key
    return mix(total, table.num_columns)


def cell_words(column: pa.Array | pa.ChunkedArray) -> UInt64:
    """A 64-bit word of each cell (N,): of numbers their bits, of texts a hash."""
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(column, pa.DictionaryArray) and is_text(column.type.value_type):
        return _coded_words(column)
    array = flat(column)
    if is_text(array.type):
        return _coded_words(array.dictionary_encode())
    if pa.types.is_uint64(array.type):
        words = array.fill_null(0).to_numpy(zero_copy_only=False)
    elif is_integral(array.type):
        words = to_int64(array).view(np.uint64)
    else:
        # Minus zero equals zero, and there are many NaNs.
        values = to_float64(array) + 0.0
        values[np.isnan(values)] = np.nan
        words = values.view(np.uint64)
        # Of whole numbers the last bits are zero, and a product would leave them so.
        words ^= words >> np.uint64(32)
    return words if array.null_count == 0 else np.where(valid_rows(array), words, _NULL)


def _coded_words(coded: pa.DictionaryArray) -> UInt64:
    words = text_hashes(coded.dictionary)
    if not len(words):
        return np.full(len(coded), _NULL)
    found = words[coded.indices.fill_null(0).to_numpy(zero_copy_only=False)]
    return found if coded.null_count == 0 else np.where(valid_rows(coded), found, _NULL)


def text_hashes(texts: pa.Array) -> UInt64:
    """A hash of each text (N,), none of them null."""
    texts = texts.cast(pa.large_string())
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    starts, lengths = offsets[:-1], np.diff(offsets)
    total = np.zeros(len(texts), dtype=np.uint64)
    some = np.flatnonzero((lengths > 0) & (lengths <= _LONGEST))
    if len(some):
        data = np.frombuffer(texts.buffers()[2], dtype=np.uint8)
        ends = np.cumsum(lengths[some])
        begins = ends - lengths[some]
        place = np.arange(ends[-1], dtype=np.int64) - np.repeat(begins, lengths[some])
        byte = data[np.repeat(starts[some], lengths[some]) + place]
        total[some] = np.add.reduceat(_words()[place * 256 + byte], begins)
    for at in np.flatnonzero(lengths > _LONGEST).tolist():
        digest = hashlib.blake2b(texts[at].as_py().encode(), digest_size=8).digest()
        total[at] = int.from_bytes(digest, "little")
    return mix(total ^ lengths.astype(np.uint64), 2)


@lru_cache(maxsize=1)
def _words() -> UInt64:
    """A word for each place and byte (places * 256,)."""
    return mix(np.arange(_LONGEST * 256, dtype=np.uint64), 0x7A6F62)
