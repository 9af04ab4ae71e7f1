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
from synthmill.errors import StorageError
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
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class LocalBackend(Backend):
    """A folder of the local (or a mounted) file system."""

    def filesystem(self) -> tuple[Any, str]:
        return pyarrow.fs.LocalFileSystem(), self.location.root

    def write(self, path: str, data: bytes) -> None:
        self.fill(path, lambda out: out.write(data))

    def upload(self, local: Path, path: str, sha256: str | None) -> None:
        with local.open("rb") as source:
            self.fill(path, lambda out: shutil.copyfileobj(source, out, CHUNK_BYTES))

    def fill(self, path: str, fill: Callable[[IO[bytes]], Any]) -> None:
        """Replace the file by what `fill` writes into the open file it is given."""
        with self._finished(path, fill) as temporary:
            temporary.replace(self._at(path))

    def create(self, path: str, data: bytes) -> bool:
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
        below = [parent for parent, _, _ in os.walk(folder, topdown=False)]
        above = [
            str(parent) for parent in [folder, *folder.parents] if parent == root or root in parent.parents
        ]
        for empty in [*below, *above]:
            with contextlib.suppress(OSError):
                Path(empty).rmdir()

    def now(self) -> datetime:
        """The time a file written now gets: on a network mount it is the server's clock that counts."""
        with self._finished(f"{TEMPORARY}clock", lambda out: out.write(b"")) as temporary:
            return datetime.fromtimestamp(temporary.stat().st_mtime, UTC)

    def remove_strays(self, before: datetime) -> list[str]:
        removed = []
        for folder, _, names in os.walk(self._at("")):
            for name in (name for name in names if name.startswith(TEMPORARY)):
                stray = Path(folder) / name
                with contextlib.suppress(FileNotFoundError), self.explained(name):
                    if datetime.fromtimestamp(stray.stat().st_mtime, UTC) <= before:
                        stray.unlink()
                        removed.append(stray.relative_to(self._at("")).as_posix())
        return sorted(removed)

    def reason(self, fault: OSError) -> str:
        return _REASONS.get(fault.errno or 0) or super().reason(fault)

    def _at(self, path: str) -> Path:
        return Path(self.location.root, path)

    @contextmanager
    def _finished(self, path: str, fill: Callable[[IO[bytes]], Any]) -> Iterator[Path]:
        """A filled and synced temporary file beside the target; gone at the end, and the folder synced."""
        target = self._at(path)
        temporary = target.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
        with self.explained(path):
            try:
                with self._open_new(temporary) as out:
                    fill(out)
                    out.flush()
                    os.fsync(out.fileno())
                yield temporary
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
            _sync_folder(target.parent)

    def _open_new(self, temporary: Path) -> IO[bytes]:
        """Another process may prune the empty folder between our mkdir and our open: then once more."""
        for last in (False, True):
            try:
                temporary.parent.mkdir(parents=True, exist_ok=True)
                return temporary.open("xb")
            except FileNotFoundError:
                if last:
                    raise StorageError(
                        f"{self.location.uri}: the folder {temporary.parent} can't be made"
                    ) from None
        raise AssertionError("unreachable")

    def _create_exclusively(self, path: str, data: bytes) -> bool:
        """For file systems without hard links; a reader may see a file that is still being written."""
        try:
            with self._at(path).open("xb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
        except FileExistsError:
            return False
        return True


def explained_local(path: Path) -> AbstractContextManager[None]:
    """Turn errors of the operating system about a local file into one StorageError line that names it."""
    absolute = path.absolute()
    return LocalBackend(Location("file", "", str(absolute.parent)), StorageConfig()).explained(absolute.name)


def _sync_folder(folder: Path) -> None:
    """Make a rename or link survive a power cut; not every file system allows it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
