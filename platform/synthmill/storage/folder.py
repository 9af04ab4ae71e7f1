"""Bytes at URIs: one class for `file://` and `s3://`, with relative paths inside.

Every write is atomic: a reader gets the whole file or none. A folder carries only its URI and its settings,
so it can be sent to any process; connections are made where they are needed.
"""

import contextlib
import hashlib
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from synthmill.config import StorageConfig
from synthmill.errors import IntegrityError, StorageError
from synthmill.storage.backend import Backend, Entry
from synthmill.storage.local import LocalBackend
from synthmill.storage.s3 import S3Backend
from synthmill.storage.uri import Location, check_path, is_uri, parse

__all__ = ["DEFAULT_SETTINGS", "Entry", "Folder", "is_uri", "json_bytes"]

DEFAULT_SETTINGS = StorageConfig()
# Requests in flight at a time: most of a small request is waiting, and the S3 clients allow 32 connections.
THREADS = 16
# Inside the class `list` is the method, so annotations need other names for the type.
Names = list[str]
Entries = list[Entry]
_BACKENDS: dict[str, type[Backend]] = {"file": LocalBackend, "s3": S3Backend}


class Folder:
    """One folder of a store.

    Methods raise MissingError for a file that does not exist and StorageError, on one line that names the
    URI, for a store that can't be reached, read or written.
    """

    def __init__(self, uri: str | Path, settings: StorageConfig = DEFAULT_SETTINGS) -> None:
        self._open(parse(str(uri)), settings)

    def _open(self, location: Location, settings: StorageConfig) -> None:
        self.settings = settings
        self.uri = location.uri
        self._location = location
        self._backend = _BACKENDS[location.scheme](location, settings)

    # The backend is left out: it is made again from these two in the process that unpickles.
    def __getstate__(self) -> dict[str, Any]:
        return {"location": self._location, "settings": self.settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._open(state["location"], state["settings"])

    def __repr__(self) -> str:
        return f"Folder({self.uri!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folder) and (self.uri, self.settings) == (other.uri, other.settings)

    def __hash__(self) -> int:
        return hash(self.uri)

    @property
    def name(self) -> str:
        """The last part of the URI."""
        return self.uri.rpartition("/")[2]

    @property
    def local_path(self) -> Path | None:
        """The folder's path on this machine; None if it is not local."""
        return Path(self._location.root) if self._location.scheme == "file" else None

    def child(self, *parts: str) -> "Folder":
        """The folder below this one; RecipeError for parts that are empty, absolute or lead out of it."""
        # Not `Folder(uri)`: a name inside a store may hold '#' or '?', which `parse` refuses in a URI.
        child = Folder.__new__(Folder)
        child._open(self._location.child(check_path("/".join(parts))), self.settings)
        return child

    def sibling(self, name: str) -> "Folder":
        """The folder of that name beside this one, which must not be the root."""
        sibling = Folder.__new__(Folder)
        sibling._open(self._location.sibling(check_path(name)), self.settings)
        return sibling

    def uri_of(self, path: str) -> str:
        """The URI of a file in this folder."""
        return self._location.child(check_path(path)).uri

    def read_bytes(self, path: str) -> bytes:
        """The whole file."""
        return b"".join(self._backend.chunks(check_path(path)))

    def read_json(self, path: str) -> Any:
        """The parsed file; StorageError when it is not JSON."""
        try:
            return json.loads(self.read_bytes(path))
        except ValueError:
            raise StorageError(f"{self.uri_of(path)}: not valid JSON") from None

    def open_input(self, path: str) -> Any:
        """A seekable PyArrow file, for readers that need only parts of a large file."""
        return self._backend.open_input(check_path(path))

    def digest(self, path: str) -> tuple[str, int]:
        """SHA-256 (hex) and size in bytes of a file, read at constant memory."""
        hasher, size = hashlib.sha256(), 0
        for chunk in self._backend.chunks(check_path(path)):
            hasher.update(chunk)
            size += len(chunk)
        return hasher.hexdigest(), size

    def write_bytes(self, path: str, data: bytes | memoryview) -> None:
        """Write or replace the file."""
        self._backend.write(check_path(path), data)

    def write_json(self, path: str, data: Any) -> None:
        """Write or replace the file with `json_bytes` of the data."""
        self.write_bytes(path, json_bytes(data))

    def create(self, path: str, data: bytes) -> bool:
        """Write the file if it does not exist; False: another writer's file does."""
        return self._backend.create(check_path(path), data)

    def upload(self, local: Path, path: str, *, sha256: str | None = None) -> None:
        """Copy a local file into the folder; given its `sha256` (hex), S3 refuses any other bytes."""
        self._backend.upload(local, check_path(path), sha256)

    def download(self, path: str, local: Path, *, sha256: str | None = None) -> None:
        """Copy a file to a local path, which appears whole and, given `sha256` (hex), only if it matches."""
        target = local.absolute()
        destination = LocalBackend(Location("file", "", str(target.parent)), self.settings)

        def copy(out: IO[bytes]) -> None:
            hasher = hashlib.sha256()
            for chunk in self._backend.chunks(check_path(path)):
                hasher.update(chunk)
                out.write(chunk)
            # Raised inside `fill`, before the rename: a damaged copy never gets the target's name.
            if sha256 is not None and hasher.hexdigest() != sha256:
                raise changed(self.uri_of(path))

        destination.fill(target.name, copy)

    def exists(self, path: str) -> bool:
        """Whether there is such a file; a folder does not count."""
        return self._backend.stat(check_path(path)) is not None

    def size(self, path: str) -> int:
        """The file's size in bytes."""
        return self.entry(path).bytes

    def entry(self, path: str) -> Entry:
        """The file's size and time of writing."""
        entry = self._backend.stat(check_path(path))
        if entry is None:
            raise self._backend.missing(path)
        return entry

    def age_seconds(self, path: str) -> float | None:
        """Time since the file was written, by the store's own clock; None: no such file."""
        return self._backend.age_seconds(check_path(path))

    def now(self) -> datetime:
        """The store's own clock, which stamps `Entry.modified`."""
        return self._backend.now()

    def list(self, prefix: str = "", *, recursive: bool = True) -> Entries:
        """Files whose path begins with the text `prefix`, by path; without sub-folders unless `recursive`."""
        if prefix.strip("/"):
            check_path(prefix.rstrip("/"))
        return self._backend.entries(prefix, recursive)

    def children(self) -> Names:
        """Names of the sub-folders, sorted."""
        return self._backend.children()

    def markers(self, depth: int) -> Names:
        """Paths of files whose names begin with "_", exactly `depth` folders below: claims and manifests.

        One walk or one listing, however many folders there are, and sizes and times are not asked for.
        """
        return self._backend.markers(depth)

    def delete(self, path: str) -> None:
        """Remove a file; a missing file is no error."""
        self._backend.delete(check_path(path))

    def delete_tree(self, prefix: str = "") -> None:
        """Remove everything in the sub-folder `prefix`, or in this folder."""
        folder = self.child(prefix) if prefix else self
        folder.delete_all([entry.path for entry in folder.list()])
        folder._backend.prune("")

    def delete_all(self, paths: Names) -> None:
        """Remove many files."""
        # One request a file: not every S3 server takes the checksum of a request that deletes many.
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(self.delete, paths):
                pass

    def move(self, path: str, target: "Folder", target_path: str) -> None:
        """Move a file to another folder of the same store."""
        self._backend.move(check_path(path), target._backend, check_path(target_path))

    def remove_strays(self, before: datetime) -> Names:
        """Remove temporary files and multipart uploads from before that time, by the store's clock.

        Returns their paths.
        """
        return self._backend.remove_strays(before)

    def filesystem(self) -> tuple[Any, str]:
        """A PyArrow filesystem and this folder's path inside it, for `pyarrow.dataset` and the like."""
        return self._backend.filesystem()

    @contextmanager
    def explained(self, path: str = "") -> Iterator[None]:
        """Turn errors of readers that use `open_input` or `filesystem` into one StorageError with the URI."""
        with self._backend.explained(path):
            yield

    def probe_write(self) -> None:
        """Check that this folder can be written to and that create-if-absent is honoured.

        Raises:
            StorageError: missing bucket, wrong credentials, read-only folder, full disk, or a store that
                overwrites.
        """
        # Two jobs probe at once without seeing each other's file.
        path = f"_probe.{uuid.uuid4().hex}"
        try:
            honoured = self.create(path, b"1") and not self.create(path, b"2")
        finally:
            with contextlib.suppress(StorageError):
                self.delete(path)
        if not honoured:
            raise StorageError(
                f"{self.uri}: this store ignores If-None-Match, so concurrent jobs could overwrite each"
                " other; use another store"
            )


def changed(uri: str) -> IntegrityError:
    """The error for a file whose bytes are not those that were published."""
    return IntegrityError(f"{uri}: the bytes do not match the recorded SHA-256; it was changed or damaged")


def json_bytes(data: Any) -> bytes:
    """JSON with sorted keys, equal bytes for equal data; ValueError for NaN and infinity."""
    return (json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
