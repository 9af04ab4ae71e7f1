"""What a storage scheme must bring, and reading, which every PyArrow filesystem brings by itself.

Paths are relative to the folder's root and were checked by `Folder`. A new scheme gives a filesystem and the
writes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.fs

from synthmill.config import StorageConfig
from synthmill.errors import MissingError, StorageError
from synthmill.storage.uri import Location, redact

CHUNK_BYTES = 1 << 20
TEMPORARY = "_tmp."


@dataclass(frozen=True)
class Entry:
    """One file of a folder; `path` is relative to it."""

    path: str
    bytes: int
    modified: datetime


class Backend(ABC):
    """Bytes below one root. Holds no connection, so that it can be pickled and used from any process."""

    def __init__(self, location: Location, settings: StorageConfig) -> None:
        self.location = location
        self.settings = settings

    @abstractmethod
    def filesystem(self) -> tuple[Any, str]:
        """A PyArrow filesystem and the root's path inside it."""

    @abstractmethod
    def write(self, path: str, data: bytes) -> None:
        """Put the bytes there, replacing what was there; a reader sees the old or the new, never a
        mixture."""

    @abstractmethod
    def create(self, path: str, data: bytes) -> bool:
        """Put the bytes there if nothing is there; False: somebody else's bytes are there."""

    @abstractmethod
    def upload(self, local: Path, path: str, sha256: str | None) -> None:
        """Like `write`, from a local file."""

    @abstractmethod
    def move(self, path: str, target: "Backend", target_path: str) -> None:
        """Move a file to another folder of the same scheme; the target appears whole."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove a file; nothing there is no error."""

    @abstractmethod
    def prune(self, path: str) -> None:
        """Remove the empty folder at `path` (may be "") and its empty parents, where the scheme has such
        things."""

    @abstractmethod
    def now(self) -> datetime:
        """The store's own clock, the one that stamps `Entry.modified`."""

    @abstractmethod
    def remove_strays(self, before: datetime) -> list[str]:
        """Remove what writes that never finished left behind before that time; returns the paths."""

    def age_seconds(self, path: str) -> float | None:
        """Time since the file was written, by the store's own clock; None: no such file."""
        entry = self.stat(path)
        return None if entry is None else (self.now() - entry.modified).total_seconds()

    def chunks(self, path: str) -> Iterator[bytes]:
        """The file's bytes in order, at constant memory; MissingError when there is none."""
        with self.explained(path), self.open_input(path) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk

    def stat(self, path: str) -> Entry | None:
        """Size and time of a file; None: there is none."""
        fs, _ = self.filesystem()
        with self.explained(path):
            info = fs.get_file_info(self.inner(path))
        return self._entry(info) if info.type == pyarrow.fs.FileType.File else None

    def entries(self, prefix: str, recursive: bool) -> list[Entry]:
        """Files whose path begins with `prefix` (a text, not a folder), sorted by path; not those below a
        sub-folder of it unless `recursive`."""
        return sorted(
            (
                self._entry(info)
                for info in self._select(prefix, recursive)
                if info.type == pyarrow.fs.FileType.File
            ),
            key=lambda entry: entry.path,
        )

    def children(self) -> list[str]:
        """Names of the sub-folders, sorted."""
        return sorted(
            info.base_name
            for info in self._select("", recursive=False)
            if info.type == pyarrow.fs.FileType.Directory
        )

    def open_input(self, path: str) -> Any:
        """A seekable PyArrow file."""
        with self.explained(path):
            return self.filesystem()[0].open_input_file(self.inner(path))

    def inner(self, path: str) -> str:
        """The path inside the PyArrow filesystem."""
        root = self.filesystem()[1].rstrip("/")
        return f"{root}/{path}" if path else root

    def uri_of(self, path: str) -> str:
        """The URI of a file, for messages."""
        return self.location.child(path).uri if path else self.location.uri

    @contextmanager
    def explained(self, path: str) -> Iterator[None]:
        """Turn the operating system's and PyArrow's errors into one line that names the URI."""
        try:
            yield
        except FileNotFoundError:
            raise self.missing(path) from None
        except OSError as fault:
            raise StorageError(f"{self.uri_of(path)}: {redact(self.reason(fault))}") from None

    def missing(self, path: str) -> MissingError:
        """The error for a file that is not there."""
        return MissingError(f"{self.uri_of(path)}: there is no such file")

    def reason(self, fault: OSError) -> str:
        """What an operating system error means, in words."""
        return fault.strerror or str(fault)

    def _select(self, prefix: str, recursive: bool) -> list[Any]:
        fs, _ = self.filesystem()
        folder = prefix.rpartition("/")[0]
        selector = pyarrow.fs.FileSelector(
            self.inner(folder) or "/", allow_not_found=True, recursive=recursive
        )
        with self.explained(folder):
            found = fs.get_file_info(selector)
        return [
            info
            for info in found
            if self._relative(info).startswith(prefix) and not info.base_name.startswith(TEMPORARY)
        ]

    def _relative(self, info: Any) -> str:
        path: str = info.path
        return path[len(self.inner("")) :].lstrip("/")

    def _entry(self, info: Any) -> Entry:
        return Entry(self._relative(info), info.size, info.mtime.astimezone(UTC))
