"""Parquet files whose bytes depend on their rows, schema and metadata alone, not on how the rows arrived."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
# Parts fetched while one is read: each is held whole in memory, so this also bounds memory.
READ_AHEAD = 4
_ARROW_SCHEMA = b"ARROW:schema"


@dataclass(frozen=True)
class PartInfo:
    """What a receipt and a manifest state about one part; `sha256` is hex."""

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
    """Write tables or record batches to a local file, with at most one row group in memory.

    `metadata` goes to the footer, sorted by key. Equal rows give equal bytes whatever their batches.

    Raises:
        StorageError: the local file can't be written, the disk is full.
    """
    schema = schema.with_metadata({key: metadata[key] for key in sorted(metadata)})
    rows = 0
    # Stated although some are PyArrow's defaults: a release that changes a default must not change our bytes.
    options: dict[str, Any] = {
        "compression": COMPRESSION,
        "compression_level": COMPRESSION_LEVEL,
        "version": "2.6",
        "data_page_version": "1.0",
        "use_dictionary": True,
        "write_statistics": True,
    }
    with _HashingSink(local) as sink, pq.ParquetWriter(sink, schema, **options) as writer:
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
        check_columns(reader.schema_arrow, columns, uri)
        # The footer names one part's shard and id, which would be wrong of a table of several parts.
        return reader.read(columns=None if columns is None else list(columns)).replace_schema_metadata(None)
    except pa.ArrowException as fault:
        raise StorageError(f"{uri}: not a readable Parquet file ({redact(str(fault))})") from None


def check_columns(schema: Any, columns: Sequence[str] | None, uri: str) -> None:
    """StorageError if the Arrow schema lacks one of the columns."""
    unknown = sorted(set(columns or ()) - set(schema.names))
    if unknown:
        raise StorageError(f"{uri}: has no column {unknown[0]!r}")


def read_footer(folder: Folder, path: str) -> dict[str, str]:
    """The footer's key-value metadata, without Arrow's own."""
    try:
        with folder.open_input(path) as source:
            metadata = pq.read_metadata(source).metadata or {}
    except (pa.ArrowException, OSError) as fault:
        problem = f"not a readable Parquet file ({redact(str(fault))})"
        raise StorageError(f"{folder.uri_of(path)}: {problem}") from None
    return {key.decode(): value.decode() for key, value in metadata.items() if key != _ARROW_SCHEMA}


def _row_groups(batches: Iterable[Any], schema: Any, limit: int) -> Iterator[Any]:
    """Tables of exactly `limit` rows (the last may be shorter), each in one chunk."""
    pending, pending_rows = [], 0
    for batch in batches:
        table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        pending.append(table.cast(schema))
        pending_rows += table.num_rows
        while pending_rows >= limit:
            joined = pa.concat_tables(pending)
            # One chunk: Parquet pages end where chunks end, so the bytes would depend on the batches.
            yield joined.slice(0, limit).combine_chunks()
            pending, pending_rows = [joined.slice(limit)], pending_rows - limit
    if pending_rows:
        yield pa.concat_tables(pending).combine_chunks()


class _HashingSink:
    """A file object that counts and hashes the bytes written to it, so that the part is not read again."""

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
        """Buffered bytes are written when the file is closed."""

    def close(self) -> None:
        """PyArrow calls this; the file is closed at the end of our `with`, where errors are explained."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False
