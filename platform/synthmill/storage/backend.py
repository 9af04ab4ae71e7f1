"""What a storage scheme implements: a PyArrow filesystem and the writes. Reading follows from the filesystem.

Paths are relative to the folder's root; `Folder` has checked them.
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
# Readers skip names that begin with "_", so an unfinished write is never taken for data.
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
    def write(self, path: str, data: bytes | memoryview) -> None:
        """Write or replace the file; a reader sees the old bytes or the new ones, never a mixture."""

    @abstractmethod
    def create(self, path: str, data: bytes) -> bool:
        """Write the file if it does not exist; False: another writer's file does."""

    @abstractmethod
    def upload(self, local: Path, path: str, sha256: str | None) -> None:
        """Like `write`, from a local file."""

    @abstractmethod
    def move(self, path: str, target: "Backend", target_path: str) -> None:
        """Move a file to another folder of the same scheme; the target appears whole."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove a file; a missing file is no error."""

    @abstractmethod
    def prune(self, path: str) -> None:
        """Remove the empty folder at `path` (may be "") and its empty parents, if the scheme has folders."""

    @abstractmethod
    def now(self) -> datetime:
        """The store's own clock, the one that stamps `Entry.modified`."""

    @abstractmethod
    def remove_strays(self, before: datetime) -> list[str]:
        """Remove leftovers of unfinished writes from before that time; returns the paths."""

    def age_seconds(self, path: str) -> float | None:
        """Time since the file was written, by the store's own clock; None: no such file."""
        # Never this machine's clock: one that runs wrong would declare live owners dead.
        entry = self.stat(path)
        return None if entry is None else (self.now() - entry.modified).total_seconds()

    def chunks(self, path: str) -> Iterator[bytes]:
        """The file's bytes in order, at constant memory; MissingError if there is no such file."""
        with self.explained(path), self.open_input(path) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk

    def stat(self, path: str) -> Entry | None:
        """Size and time of a file; None: no such file."""
        fs, _ = self.filesystem()
        with self.explained(path):
            info = fs.get_file_info(self.inner(path))
        return self._entry(info) if info.type == pyarrow.fs.FileType.File else None

    def entries(self, prefix: str, recursive: bool) -> list[Entry]:
        """Files whose path begins with the text `prefix`, by path; without sub-folders unless `recursive`."""
        infos = self._select(prefix, recursive)
        files = [self._entry(info) for info in infos if info.type == pyarrow.fs.FileType.File]
        return sorted(files, key=lambda entry: entry.path)

    def children(self) -> list[str]:
        """Names of the sub-folders, sorted."""
        return sorted(
            info.base_name
            for info in self._select("", recursive=False)
            if info.type == pyarrow.fs.FileType.Directory
        )

    @abstractmethod
    def markers(self, depth: int) -> list[str]:
        """Paths of the files whose names begin with "_", exactly `depth` folders below; in one walk, however
        many folders there are."""

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
        """The error for a file that does not exist."""
        return MissingError(f"{self.uri_of(path)}: there is no such file")

    def reason(self, fault: OSError) -> str:
        """What an operating system error means, in words."""
        return fault.strerror or str(fault)

    def _select(self, prefix: str, recursive: bool) -> list[Any]:
        fs, _ = self.filesystem()
        folder = prefix.rpartition("/")[0]
        root = self.inner(folder) or "/"
        # A folder appears with its first file, so listing one that does not exist yet is normal.
        selector = pyarrow.fs.FileSelector(root, allow_not_found=True, recursive=recursive)
        with self.explained(folder):
            infos = fs.get_file_info(selector)
        return [
            info
            for info in infos
            if self._relative(info).startswith(prefix) and not info.base_name.startswith(TEMPORARY)
        ]

    def _relative(self, info: Any) -> str:
        path: str = info.path
        return path[len(self.inner("")) :].lstrip("/")

    def _entry(self, info: Any) -> Entry:
        return Entry(self._relative(info), info.size, info.mtime.astimezone(UTC))
