"""Arrow IPC: files (Feather version 2) and streams, as Hugging Face `datasets` writes them."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from synthmill.data.formats.base import (
    BLOCK_ROWS,
    Blocks,
    File,
    Format,
    Options,
    Parsed,
    Shown,
    WholeError,
    check_names,
    guarded,
)

LARGEST_BATCH = 1 << 30
"""Bytes of a record batch, which can only be read as a whole."""
_FILE, _STREAM = b"ARROW1", b"\xff\xff\xff\xff"


class Arrow(Format):
    shown = Shown(name="Arrow", endings=(".arrow", ".feather", ".ipc", ".arrows"))
    whole_bytes = 10

    @classmethod
    def is_in(cls, data: bytes) -> bool:
        # A stream begins with the mark of continuation and the length of its schema, which is below 16 MB.
        return data[:6] == _FILE or (data[:4] == _STREAM and data[7:8] == b"\0")

    @classmethod
    def parse(cls, data: bytes, name: str, options: Options) -> Parsed:
        def read() -> pa.Table:
            source = pa.BufferReader(data)
            opened = pa.ipc.open_file if data[:6] == _FILE else pa.ipc.open_stream
            with opened(source) as reader:
                check_names(reader.schema.names, name)
                return reader.read_all()

        return Parsed(table=guarded(read, name, "Arrow"))

    @classmethod
    def blocks(cls, file: File, options: Options) -> Blocks:
        if file.is_packed:
            raise WholeError(f"{file.name} is compressed as a whole")
        return ArrowBlocks(file)


class ArrowBlocks(Blocks):
    """Rows of one file, record batch by record batch."""

    def __init__(self, file: File) -> None:
        self._file = file
        self.schema = next(self._read())
        check_names(self.schema.names, file.name)

    @property
    def weight_bytes(self) -> int:
        return self._file.num_bytes * Arrow.whole_bytes

    def read(self, names: list[str] | None = None) -> Iterator[pa.Table]:
        found = self._read()
        next(found)
        while (batch := guarded(lambda: next(found, None), self._file.name, "Arrow")) is not None:
            for start in range(0, batch.num_rows, BLOCK_ROWS):
                yield pa.Table.from_batches([batch.slice(start, BLOCK_ROWS)])

    def _read(self) -> Iterator[Any]:
        """The schema, then the batches."""
        source = self._file.open()
        opened = pa.ipc.open_file if self._file.head[:6] == _FILE else pa.ipc.open_stream
        with guarded(lambda: opened(source), self._file.name, "Arrow") as reader:
            if self._file.head[:6] != _FILE:
                yield reader.schema
                yield from reader
                return
            batch_bytes = self._file.num_bytes // max(1, reader.num_record_batches)
            if batch_bytes > LARGEST_BATCH:
                raise WholeError(f"{self._file.name} has record batches of {batch_bytes / 2**30:.1f} GiB")
            yield reader.schema
            yield from (reader.get_batch(at) for at in range(reader.num_record_batches))
