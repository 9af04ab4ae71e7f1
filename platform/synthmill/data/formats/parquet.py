"""Parquet files."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synthmill.data.columns import is_text
from synthmill.data.formats.base import (
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

_MAGIC = (b"PAR1", b"PARE")
BLOCK_ROWS = 65_536
_GROUP_BYTES = 256 << 20
_FIRST_YEAR, _LAST_YEAR = 1677, 2262
"""In these years the nanoseconds of 64 bits begin and end."""


class Parquet(Format):
    shown = Shown(name="Parquet", endings=(".parquet", ".pq", ".parq"))

    @classmethod
    def is_in(cls, data: bytes) -> bool:
        return data[:4] in _MAGIC

    @classmethod
    def parse(cls, data: bytes, name: str, options: Options) -> Parsed:
        def read() -> pa.Table:
            file = pq.ParquetFile(pa.BufferReader(data))
            # Before reading: Arrow can't select from two columns of one name.
            check_names(file.schema_arrow.names, name)
            table = file.read()
            return table if not _has_int96(file) else _beyond_nanoseconds(table, data)

        return Parsed(table=guarded(read, name, "Parquet"))

    @classmethod
    def blocks(cls, file: File, options: Options) -> Blocks:
        if file.is_packed:
            raise WholeError(f"{file.name} is compressed as a whole")
        return ParquetBlocks(file)


class ParquetBlocks(Blocks):
    """Rows of one file, row group by row group."""

    def __init__(self, file: File) -> None:
        self._file = file
        opened = self._opened([])
        check_names(opened.schema_arrow.names, file.name)
        if _has_int96(opened):
            raise WholeError(f"{file.name} has times of 96 bits, whose unit follows from all of them")
        self.schema = opened.schema_arrow
        self.num_rows = opened.metadata.num_rows
        self._cells: int = opened.metadata.num_rows * len(self.schema)
        groups = opened.metadata.num_row_groups
        stated = [opened.metadata.row_group(at) for at in range(groups)]
        self.groups = tuple(group.num_rows for group in stated)
        sizes = (group.total_byte_size for group in stated)
        # A row group is read whole unless it is so large that its columns are read piece by piece.
        self._buffer_bytes = 1 << 20 if max(sizes, default=0) > _GROUP_BYTES else 0
        # Text that is stored as a dictionary stays one: a block's different texts are known for nothing.
        self._coded = [one.name for one in self.schema if is_text(one.type)]

    @property
    def weight_bytes(self) -> int:
        return self._cells * CELL_BYTES

    def read(self, names: list[str] | None = None) -> Iterator[pa.Table]:
        return self._tables(names, None)

    def read_groups(self, first: int, stop: int) -> Iterator[pa.Table]:
        return self._tables(None, list(range(first, stop)))

    def _tables(self, names: list[str] | None, groups: list[int] | None) -> Iterator[pa.Table]:
        batches = guarded(lambda: self._batches(names, groups), self._file.name, "Parquet")
        while (batch := guarded(lambda: next(batches, None), self._file.name, "Parquet")) is not None:
            yield pa.Table.from_batches([batch])

    def _batches(self, names: list[str] | None, groups: list[int] | None) -> Iterator[pa.RecordBatch]:
        file = self._opened(self._coded)
        if names == []:
            # Only how many rows there are is asked for.
            names = self.schema.names[:1]
        found: Iterator[pa.RecordBatch] = file.iter_batches(
            BLOCK_ROWS, columns=names, row_groups=groups, use_threads=False
        )
        return found

    def _opened(self, coded: list[str]) -> pq.ParquetFile:
        return guarded(
            lambda: pq.ParquetFile(
                self._file.open(),
                read_dictionary=coded,
                buffer_size=getattr(self, "_buffer_bytes", 0),
                # Arrow would keep the bytes of all row groups, read ones too, until the file is closed.
                pre_buffer=False,
            ),
            self._file.name,
            "Parquet",
        )


def _has_int96(file: pq.ParquetFile) -> bool:
    """Whether times are stored as Spark and Impala once did."""
    return any(file.schema.column(at).physical_type == "INT96" for at in range(file.metadata.num_columns))


def _beyond_nanoseconds(table: pa.Table, data: bytes) -> pa.Table:
    """The table with INT96 times in microseconds where nanoseconds, which Arrow reads them as, can't reach
    them: 9999-12-31 would silently become 1816."""
    coarse = pq.ParquetFile(pa.BufferReader(data), coerce_int96_timestamp_unit="us").read()
    for at, (fine, wide) in enumerate(zip(table.columns, coarse.columns, strict=True)):
        if fine.type == wide.type or not pa.types.is_timestamp(fine.type):
            continue
        years = pc.min_max(pc.year(wide)).as_py()
        if years["min"] is not None and (years["min"] <= _FIRST_YEAR or years["max"] >= _LAST_YEAR):
            table = table.set_column(at, table.schema.field(at).with_type(wide.type), wide)
    return table
