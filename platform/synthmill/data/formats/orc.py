"""ORC files, by Arrow's reader."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pyarrow as pa

from synthmill.data.formats.base import (
    BLOCK_ROWS,
    CELL_BYTES,
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


class Orc(Format):
    shown = Shown(name="ORC", endings=(".orc",))
    whole_bytes = CELL_BYTES

    @classmethod
    def is_in(cls, data: bytes) -> bool:
        return data[:3] == b"ORC"

    @classmethod
    def parse(cls, data: bytes, name: str, options: Options) -> Parsed:
        def read() -> pa.Table:
            file = _opened(pa.BufferReader(data))
            check_names(file.schema.names, name)
            return file.read()

        return Parsed(table=guarded(read, name, "ORC"))

    @classmethod
    def blocks(cls, file: File, options: Options) -> Blocks:
        if file.is_packed:
            raise WholeError(f"{file.name} is compressed as a whole")
        return OrcBlocks(file)


class OrcBlocks(Blocks):
    """Rows of one file, stripe by stripe."""

    def __init__(self, file: File) -> None:
        self._file = file
        opened = guarded(lambda: _opened(file.open()), file.name, "ORC")
        self.schema = opened.schema
        check_names(self.schema.names, file.name)
        self.num_rows = opened.nrows

    @property
    def weight_bytes(self) -> int:
        assert self.num_rows is not None, "known from the file's footer"
        return self.num_rows * len(self.schema) * CELL_BYTES

    def read(self, names: list[str] | None = None) -> Iterator[pa.Table]:
        opened = guarded(lambda: _opened(self._file.open()), self._file.name, "ORC")
        for at in range(opened.nstripes):
            # All columns: names with a point in them would select parts of nested ones.
            stripe = guarded(partial(opened.read_stripe, at), self._file.name, "ORC")
            for start in range(0, stripe.num_rows, BLOCK_ROWS):
                yield pa.Table.from_batches([stripe.slice(start, BLOCK_ROWS)])


def _opened(source: Any) -> Any:
    # Imported here: Arrow's builds for some platforms come without it.
    from pyarrow import orc

    return orc.ORCFile(source)
