"""Files of a source as they are read in blocks: their bytes hashed on the way, and refused where they change
between one pass and the next."""

import hashlib
import io
import lzma
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from synthmill.data.content import packer_of
from synthmill.data.delimited import HEAD_BYTES
from synthmill.data.formats.base import FIELD, File, WholeError
from synthmill.errors import DataError, MissingError
from synthmill.storage.folder import Entry, Folder

CHUNK_BYTES = 1 << 20
_BY_ARROW = {"gzip": "gzip", "bzip2": "bz2", "zstd": "zstd", "lz4": "lz4"}


class StoredFile(File):
    """One file of a folder."""

    def __init__(self, folder: Folder, path: str) -> None:
        self._folder, self._path = folder, path
        self._entry = folder.entry(path)
        self.name, self.num_bytes = path, self._entry.bytes
        self.sha256: str | None = None
        """Of the stored bytes, once they were read from the first to the last."""
        self.listener: Callable[[bytes], None] | None = None
        """Is told the stored bytes, once."""
        self.read_bytes = 0
        """Stored bytes that were hashed so far, in all passes."""
        self.is_local = folder.local_path is not None
        with folder.explained(path), folder.open_input(path) as opened:
            self._packer = packer_of(opened.read(64))
        self.is_packed = self._packer is not None
        if self._packer == "zip":
            raise WholeError(f"{path} is a ZIP archive")
        self.head = self._read_head()

    def open(self) -> Any:
        self.check_same()
        return self._folder.open_input(self._path)

    def chunks(self) -> Iterator[bytes]:
        self.check_same()
        stored = self._stored()
        if self._packer is None:
            yield from stored
        else:
            yield from self._unpacked(_Pipe(stored))
        # What a packer left behind its own end is hashed too.
        for _ in stored:
            pass
        self.check_same()

    def __getstate__(self) -> dict[str, Any]:
        # Tasks that read stretches of it know its format.
        return {**self.__dict__, "head": b"", "listener": None}

    def hashed(self) -> Iterator[None]:
        """Read all stored bytes for their hash alone, piece by piece.

        Raises:
            DataError: they are others than when they were first read.
        """
        for _ in self._stored():
            yield
        self.check_same()

    def check_same(self) -> None:
        """DataError if the file was written since this source was first opened."""
        try:
            now = self._folder.entry(self._path)
        except MissingError:
            raise self.changed() from None
        if _stamp(now) != _stamp(self._entry):
            raise self.changed()

    def _stored(self) -> Iterator[bytes]:
        """The bytes as they lie; after the last, their hash is known and must be that of earlier passes."""
        digest, size = hashlib.sha256(), 0
        tell, self.listener = self.listener, None
        with self._folder.explained(self._path), self._folder.open_input(self._path) as opened:
            while chunk := opened.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                self.read_bytes += len(chunk)
                if tell is not None:
                    tell(chunk)
                yield chunk
        if size != self.num_bytes or self.sha256 not in (None, digest.hexdigest()):
            raise self.changed()
        self.sha256 = digest.hexdigest()

    def _read_head(self) -> bytes:
        with self._folder.explained(self._path), self._folder.open_input(self._path) as opened:
            if self._packer is None:
                found: bytes = opened.read(HEAD_BYTES)
                return found
            head = b""
            for chunk in self._unpacked(opened):
                head += chunk
                if len(head) >= HEAD_BYTES:
                    break
            return head[:HEAD_BYTES]

    def _unpacked(self, stored: Any) -> Iterator[bytes]:
        assert self._packer is not None
        try:
            with (
                lzma.LZMAFile(stored)
                if self._packer == "xz"
                else pa.CompressedInputStream(stored, _BY_ARROW[self._packer])
            ) as opened:
                while chunk := opened.read(CHUNK_BYTES):
                    yield chunk
        except (OSError, EOFError, lzma.LZMAError, pa.ArrowException) as fault:
            raise DataError(
                f"{self.name} can't be read as {self._packer} ({str(fault).splitlines()[0][:100]})",
                field=FIELD,
            ) from None

    def changed(self) -> DataError:
        """The error for a file that is not what it was."""
        uri = self._folder.uri_of(self._path)
        return DataError(
            f"{uri} changed while it was read; wait until it is complete, or give a copy that stays as it is",
            field=FIELD,
        )


class _Pipe(io.RawIOBase):
    """A file of chunks, read once from the first to the last."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while (size < 0 or not self._rest) and (chunk := next(self._chunks, None)) is not None:
            self._rest += chunk
        size = len(self._rest) if size < 0 else size
        found, self._rest = self._rest[:size], self._rest[size:]
        return found


def _stamp(entry: Entry) -> tuple[int, Any]:
    return entry.bytes, entry.modified
