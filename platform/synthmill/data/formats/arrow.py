"""Arrow IPC: files (Feather version 2) and streams, as Hugging Face `datasets` writes them."""

import pyarrow as pa

from synthmill.data.formats.base import Format, Options, Parsed, Shown, check_names, guarded

_FILE, _STREAM = b"ARROW1", b"\xff\xff\xff\xff"


class Arrow(Format):
    shown = Shown(name="Arrow", endings=(".arrow", ".feather", ".ipc", ".arrows"))

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
