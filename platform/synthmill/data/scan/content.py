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
    return Hasher().contents(table)


def cell_words(column: pa.Array | pa.ChunkedArray) -> UInt64:
    """A 64-bit word of each cell (N,): of numbers their bits, of texts a hash."""
    return Hasher().words(column)


class Hasher:
    """Hashes blocks of one source: the texts of a dictionary that several blocks share are hashed once."""

    def __init__(self) -> None:
        self._texts: dict[int, tuple[pa.Array, UInt64]] = {}

    def contents(self, table: pa.Table | pa.RecordBatch) -> UInt64:
        """As `content_hashes`."""
        total = np.zeros(table.num_rows, dtype=np.uint64)
        keys = mix(np.arange(table.num_columns, dtype=np.uint64), 3) | np.uint64(1)
        # A sum of products with a random odd number a column: one cell's change always changes the sum.
        for at, (column, key) in enumerate(zip(table.columns, keys, strict=True)):
            # What no model can learn stops the job, but not before all of it is named.
            if is_supported(plain_type(column.type)):
                self._add(total, whole(column), key, at)
        return mix(total, table.num_columns)

    def words(self, column: pa.Array | pa.ChunkedArray, at: int = 0) -> UInt64:
        """As `cell_words`; `at` tells columns apart."""
        total = np.zeros(len(column), dtype=np.uint64)
        self._add(total, whole(column), np.uint64(1), at)
        return total

    def _add(self, total: UInt64, column: pa.Array, key: np.uint64, at: int) -> None:
        """Add the words of a column times a key to `total` (N,), wrapping."""
        array = column if is_coded(column) else flat(column)
        if is_text(array.type):
            array = array.dictionary_encode()
        nulls, null = array.null_count, np.full(1, _NULL) * key
        if nulls == len(array):
            words = null
        elif is_coded(array):
            # Few texts are multiplied, and all rows but gathered.
            codes = array.indices.fill_null(0) if nulls else array.indices
            table = self._hashed(array.dictionary, at) * key
            words = table.take(codes.to_numpy(zero_copy_only=False))
        elif pa.types.is_boolean(array.type) and not nulls:
            table = np.arange(2, dtype=np.uint64) * key
            words = table.take(array.to_numpy(zero_copy_only=False).view(np.int8))
        else:
            words = _number_words(array) * key
        if 0 < nulls < len(array):
            words = np.where(valid_rows(array), words, null)
        np.add(total, words, out=total)

    def _hashed(self, texts: pa.Array, at: int) -> UInt64:
        known = self._texts.get(at)
        if known is None or not known[0].equals(texts):
            known = self._texts[at] = texts, text_hashes(texts)
        return known[1]


def whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One contiguous array; text stays dictionary-encoded where it is."""
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return flat(column) if isinstance(column, pa.ChunkedArray) else column


def is_coded(array: pa.Array) -> bool:
    """Whether it is text, dictionary-encoded."""
    return isinstance(array, pa.DictionaryArray) and is_text(array.type.value_type)


def _number_words(array: pa.Array) -> UInt64:
    if pa.types.is_uint64(array.type):
        unsigned: UInt64 = array.fill_null(0).to_numpy(zero_copy_only=False)
        return unsigned
    if is_integral(array.type):
        return to_int64(array).view(np.uint64)
    # Minus zero equals zero, and there are many NaNs.
    values = to_float64(array) + 0.0
    if len(values) and np.isnan(values.min()):
        values[np.isnan(values)] = np.nan
    words = values.view(np.uint64)
    # Of whole numbers the last bits are zero, and a product would leave them so.
    words ^= words >> np.uint64(32)
    return words


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
