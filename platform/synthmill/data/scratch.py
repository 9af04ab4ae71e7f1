"""Shards on a node's own disk: mapped where they lie if the run's folder is local, fetched once a node if it
is not.

`SYNTHMILL_SCRATCH` names the folder to fetch to (the temporary folder otherwise); set, it is used for local
stores too, which may be on a network file system.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synthmill.data.shards import EncodedRows, ShardFile, ShardIndex, check_shards
from synthmill.errors import StorageError
from synthmill.storage.folder import Folder

VARIABLE = "SYNTHMILL_SCRATCH"


@contextmanager
def opened_shards(folder: Folder, index: ShardIndex, *, owner: str = "") -> Iterator[EncodedRows]:
    """The shards of a run's folder, checked; a copy that was fetched is removed when the work inside is done.
    An error leaves it, as another attempt follows. Processes of one node share it where they name one owner.

    Raises:
        IntegrityError: a damaged file; names it.
        StorageError: a disk without room for the copy.
    """
    own = folder.local_path
    if own is not None and VARIABLE not in os.environ:
        check_shards(folder, index)
        yield EncodedRows(own, index)
        return
    root = Path(os.environ.get(VARIABLE) or tempfile.gettempdir())
    # Of the run's own folder: another run of the same recipe may end, and remove its copy, before this one.
    name = hashlib.sha256(f"{folder.uri} {index.key}{owner}".encode()).hexdigest()[:16]
    copy = root / f"synthmill-shards-{name}"
    _fetch(folder, index, copy)
    yield EncodedRows(copy, index)
    # Encoded rows are as private as the source. Processes that still read them keep what they have mapped.
    shutil.rmtree(copy, ignore_errors=True)


def _fetch(folder: Folder, index: ShardIndex, copy: Path) -> None:
    """All files that are not there, or not as they should be; one process of a node fetches, others wait."""
    try:
        copy.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The temporary folder is everybody's: whoever made this one first could read what is put into it.
        if copy.stat().st_uid != os.getuid() or copy.is_symlink():
            raise StorageError(f"{copy} belongs to somebody else; remove it, or set {VARIABLE}")
        with (copy / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            here = Folder(copy)
            missing = [file for file in index.files if not _is_whole(here, file)]
            free = shutil.disk_usage(copy).free
            needed = sum(file.bytes for file in missing)
            if needed > free:
                raise StorageError(
                    f"the encoded rows need {needed / 2**30:.1f} GiB in {copy}, where {free / 2**30:.1f} are"
                    f" free; make room, or name another folder in {VARIABLE}"
                )
            for file in missing:
                folder.download(file.name, copy / file.name, sha256=file.sha256)
    except OSError as fault:
        raise StorageError(f"{copy} can't be written ({fault.strerror}); set {VARIABLE}") from None


def _is_whole(here: Folder, file: ShardFile) -> bool:
    return here.exists(file.name) and here.digest(file.name) == (file.sha256, file.bytes)
