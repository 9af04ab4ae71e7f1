"""`file://`: atomic writes by rename, create-if-absent by hard link."""

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pyarrow.fs

from synthmill.config import StorageConfig
from synthmill.errors import MissingError, StorageError
from synthmill.storage.backend import CHUNK_BYTES, TEMPORARY, Backend
from synthmill.storage.uri import Location

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than this process or file system allows",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.EISDIR: "this is a folder, not a file",
}
# What `link` answers on file systems without hard links (FAT, some network and container mounts).
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class LocalBackend(Backend):
    """A folder of the local (or a mounted) file system."""

    def filesystem(self) -> tuple[Any, str]:
        return pyarrow.fs.LocalFileSystem(), self.location.root

    def write(self, path: str, data: bytes | memoryview) -> None:
        self.fill(path, lambda out: out.write(data))

    def upload(self, local: Path, path: str, sha256: str | None) -> None:
        with local.open("rb") as source:
            self.fill(path, lambda out: shutil.copyfileobj(source, out, CHUNK_BYTES))

    def fill(self, path: str, fill: Callable[[IO[bytes]], Any]) -> None:
        """Write or replace the file with what `fill` writes into the open file that it is given."""
        with self._finished(path, fill) as temporary:
            temporary.replace(self._at(path))

    def create(self, path: str, data: bytes) -> bool:
        # A link fails if the name is taken, as O_EXCL does, but shows other processes only complete files.
        with self._finished(path, lambda out: out.write(data)) as temporary:
            try:
                os.link(temporary, self._at(path))
            except FileExistsError:
                return False
            except OSError as fault:
                if fault.errno not in _NO_HARD_LINKS:
                    raise
                return self._create_exclusively(path, data)
        return True

    def move(self, path: str, target: Backend, target_path: str) -> None:
        assert isinstance(target, LocalBackend), "moves stay within one scheme"
        goal = target._at(target_path)
        with self.explained(path):
            goal.parent.mkdir(parents=True, exist_ok=True)
            self._at(path).replace(goal)

    def delete(self, path: str) -> None:
        with self.explained(path):
            self._at(path).unlink(missing_ok=True)

    def prune(self, path: str) -> None:
        root, folder = self._at(""), self._at(path)
        below = [Path(parent) for parent, _, _ in os.walk(folder, topdown=False)]
        above = [parent for parent in folder.parents if parent == root or root in parent.parents]
        # `rmdir` refuses a folder that holds anything, so a file written meanwhile is safe.
        for empty in [*below, *above]:
            with contextlib.suppress(OSError):
                empty.rmdir()

    def markers(self, depth: int) -> list[str]:
        found = []
        with self.explained(""):
            below = [""]
            for _ in range(depth):
                inside = ((path, entry) for path in below for entry in self._scan(path))
                below = [f"{path}{entry.name}/" for path, entry in inside if entry.is_dir()]
            for path in below:
                # Without a stat of each file: a version can have 100,000 parts, of which none matters here.
                ours = [entry for entry in self._scan(path) if entry.name.startswith("_") and entry.is_file()]
                found += [path + entry.name for entry in ours if not entry.name.startswith(TEMPORARY)]
        return sorted(found)

    def now(self) -> datetime:
        # The time that a new file gets: on a network mount that is the server's clock, not this machine's.
        with self._finished(f"{TEMPORARY}clock", lambda out: out.write(b"")) as temporary:
            return datetime.fromtimestamp(temporary.stat().st_mtime, UTC)

    def remove_strays(self, before: datetime) -> list[str]:
        removed = []
        for folder, _, names in os.walk(self._at("")):
            for name in (name for name in names if name.startswith(TEMPORARY)):
                stray = Path(folder) / name
                path = stray.relative_to(self._at("")).as_posix()
                # Its writer may finish, and remove it, between the listing and here.
                with contextlib.suppress(MissingError), self.explained(path):
                    if datetime.fromtimestamp(stray.stat().st_mtime, UTC) <= before:
                        stray.unlink()
                        removed.append(path)
        return sorted(removed)

    def reason(self, fault: OSError) -> str:
        return _REASONS.get(fault.errno or 0) or super().reason(fault)

    def _scan(self, path: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._at(path)) as entries:
                return list(entries)
        except FileNotFoundError:
            return []  # Removed since its name was read, or not made yet.

    def _at(self, path: str) -> Path:
        return Path(self.location.root, path)

    @contextmanager
    def _finished(self, path: str, fill: Callable[[IO[bytes]], Any]) -> Iterator[Path]:
        """A written and synced temporary file beside the target, removed at the end."""
        target = self._at(path)
        # In the target's folder: a rename or link is atomic only within one file system.
        temporary = target.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
        with self.explained(path):
            try:
                with self._open_new(temporary) as out:
                    fill(out)
                    _sync(out)
                yield temporary
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
            # Without this a power cut could undo the rename; not every file system can sync a folder.
            with contextlib.suppress(OSError):
                handle = os.open(target.parent, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)

    def _open_new(self, temporary: Path) -> IO[bytes]:
        # Another process may prune the empty folder between our mkdir and our open: try twice.
        for _ in range(2):
            with contextlib.suppress(FileNotFoundError):
                temporary.parent.mkdir(parents=True, exist_ok=True)
                return temporary.open("xb")
        raise StorageError(f"{self.location.uri}: the folder {temporary.parent} can't be made")

    def _create_exclusively(self, path: str, data: bytes) -> bool:
        """For file systems without hard links; a reader may see a file that is still being written."""
        target = self._at(path)
        try:
            out = target.open("xb")
        except FileExistsError:
            return False
        try:
            with out:
                out.write(data)
                _sync(out)
        except OSError:
            # A partial claim or manifest under its final name would look like another writer's for ever.
            target.unlink(missing_ok=True)
            raise
        return True


def explained_local(path: Path) -> AbstractContextManager[None]:
    """Turn the operating system's errors about a local file into one StorageError line that names it."""
    absolute = path.absolute()
    return LocalBackend(Location("file", "", str(absolute.parent)), StorageConfig()).explained(absolute.name)


def _sync(out: IO[bytes]) -> None:
    out.flush()
    os.fsync(out.fileno())
