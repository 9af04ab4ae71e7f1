"""Parquet files whose bytes depend on their rows, schema and metadata alone, not on how the rows arrived."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synthmill.errors import StorageError
from synthmill.storage.folder import Folder
from synthmill.storage.local import explained_local
from synthmill.storage.uri import redact

ROW_GROUP_ROWS = 65_536
COMPRESSION, COMPRESSION_LEVEL = "zstd", 3
READ_AHEAD = 4
_ARROW_SCHEMA = b"ARROW:schema"


@dataclass(frozen=True)
class PartInfo:
    """What a receipt and a manifest say of one part; `sha256` is hex."""

    rows: int
    bytes: int
    sha256: str


def write_part(
    table_batches: Iterable[Any],
    schema: Any,
    local: Path,
    metadata: Mapping[str, str],
    *,
    row_group_rows: int = ROW_GROUP_ROWS,
) -> PartInfo:
    """Write tables or record batches to a local file, holding at most one row group in memory.

    `metadata` goes to the footer, sorted by key. Equal rows give equal bytes however they are cut into
    batches.

    Raises:
        StorageError: the local file can't be written, the disk is full.
    """
    schema = schema.with_metadata({key: metadata[key] for key in sorted(metadata)})
    rows = 0
    with _HashingSink(local) as sink:
        options = {
            "compression": COMPRESSION,
            "compression_level": COMPRESSION_LEVEL,
            "version": "2.6",
            "data_page_version": "1.0",
        }
        with pq.ParquetWriter(sink, schema, use_dictionary=True, write_statistics=True, **options) as writer:
            for group in _row_groups(table_batches, schema, row_group_rows):
                writer.write_table(group, row_group_size=row_group_rows)
                rows += group.num_rows
    return PartInfo(rows, sink.bytes, sink.hasher.hexdigest())


def read_part(data: bytes, uri: str, columns: Sequence[str] | None = None) -> Any:
    """The table in a Parquet file's bytes, without footer metadata.

    Raises:
        StorageError: not a Parquet file, or a column that it does not have.
    """
    try:
        reader = pq.ParquetFile(pa.BufferReader(data))
        unknown = sorted(set(columns or ()) - set(reader.schema_arrow.names))
        if unknown:
            raise StorageError(f"{uri}: has no column {unknown[0]!r}")
        return reader.read(columns=None if columns is None else list(columns)).replace_schema_metadata(None)
    except pa.ArrowException as fault:
        raise StorageError(f"{uri}: not a readable Parquet file ({redact(str(fault))})") from None


def read_parts(folder: Folder, paths: Sequence[str], columns: Sequence[str] | None = None) -> Any:
    """The rows of the files, in their order, as one table; each file is fetched whole, by one request."""
    if not paths:
        raise StorageError(f"{folder.uri}: no Parquet files to read")
    with ThreadPoolExecutor(READ_AHEAD) as pool:
        return pa.concat_tables(
            pool.map(lambda path: read_part(folder.read_bytes(path), folder.uri_of(path), columns), paths)
        )


def read_footer(folder: Folder, path: str) -> dict[str, str]:
    """The footer's key-value metadata, without Arrow's own."""
    try:
        with folder.open_input(path) as source:
            metadata = pq.read_metadata(source).metadata or {}
    except (pa.ArrowException, OSError) as fault:
        raise StorageError(
            f"{folder.uri_of(path)}: not a readable Parquet file ({redact(str(fault))})"
        ) from None
    return {key.decode(): value.decode() for key, value in metadata.items() if key != _ARROW_SCHEMA}


def _row_groups(batches: Iterable[Any], schema: Any, limit: int) -> Iterator[Any]:
    """Tables of exactly `limit` rows (the last may be shorter), each in one chunk: page boundaries follow
    chunks."""
    held, held_rows = [], 0
    for batch in batches:
        table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        held.append(table.cast(schema))
        held_rows += table.num_rows
        while held_rows >= limit:
            joined = pa.concat_tables(held)
            yield joined.slice(0, limit).combine_chunks()
            held, held_rows = [joined.slice(limit)], held_rows - limit
    if held_rows:
        yield pa.concat_tables(held).combine_chunks()


class _HashingSink:
    """A file that knows the SHA-256 and the number of the bytes written to it."""

    def __init__(self, local: Path) -> None:
        self.local = local
        self.bytes = 0
        self.hasher = hashlib.sha256()
        self.closed = False
        with explained_local(local):
            self.raw = local.open("wb")

    def __enter__(self) -> "_HashingSink":
        return self

    def __exit__(self, *exception: object) -> None:
        self.closed = True
        with explained_local(self.local):
            self.raw.close()

    def write(self, data: Any) -> int:
        self.hasher.update(data)
        with explained_local(self.local):
            self.raw.write(data)
        self.bytes += len(data)
        return len(data)

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        """What is buffered gets written when the file is closed."""

    def close(self) -> None:
        """Called by PyArrow; the file is closed at the end of the `with`."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False
