"""Parquet files."""

import pyarrow as pa
import pyarrow.parquet as pq

from synthmill.data.formats.base import Format, Options, Parsed, Shown, check_names, guarded

_MAGIC = (b"PAR1", b"PARE")


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
            return file.read()

        return Parsed(table=guarded(read, name, "Parquet"))
