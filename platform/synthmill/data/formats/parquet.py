"""Parquet files."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synthmill.data.formats.base import Format, Options, Parsed, Shown, check_names, guarded

_MAGIC = (b"PAR1", b"PARE")
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
