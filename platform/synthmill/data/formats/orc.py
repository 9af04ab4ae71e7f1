"""ORC files, by Arrow's reader."""

import pyarrow as pa

from synthmill.data.formats.base import Format, Options, Parsed, Shown, check_names, guarded


class Orc(Format):
    shown = Shown(name="ORC", endings=(".orc",))

    @classmethod
    def is_in(cls, data: bytes) -> bool:
        return data[:3] == b"ORC"

    @classmethod
    def parse(cls, data: bytes, name: str, options: Options) -> Parsed:
        # Imported here: Arrow's builds for some platforms come without it.
        from pyarrow import orc

        def read() -> pa.Table:
            file = orc.ORCFile(pa.BufferReader(data))
            check_names(file.schema.names, name)
            return file.read()

        return Parsed(table=guarded(read, name, "ORC"))
