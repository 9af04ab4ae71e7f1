"""Encoding a source that is read in blocks as part of a job: shards of an earlier attempt are used again, and
many are encoded by tasks, a part each, where CPUs are free."""

from collections.abc import Collection, Iterable, Iterator

import pyarrow as pa
import ray

from synthmill.config import fingerprint
from synthmill.data.codecs.base import Codec
from synthmill.data.shards import ShardIndex, ShardWriter, check_shards, find_index
from synthmill.errors import IntegrityError
from synthmill.runtime import cluster
from synthmill.runtime.encode_parts import encode_in_tasks
from synthmill.runtime.prepare import Prepared
from synthmill.runtime.progress import Progress, say
from synthmill.storage.folder import Folder
from synthmill.training.encoding import encode_here, reads_by_code, write_shards
from synthmill.training.fit import fresh_model
from synthmill.training.prepare import Rows

SHARDS = "shards"
LEAST_PARTS = 8
"""Fewer are encoded by one process in about the time that others take to start."""


def shards_in(run: Folder) -> Folder:
    """The folder of a run's shards."""
    return run.child(SHARDS)


def encode_rows(prepared: Prepared, run: Folder) -> ShardIndex | None:
    """The shards of a streamed source, those of an earlier attempt if they are whole; None: its rows are in
    memory.

    Raises:
        StorageError: a full disk; nothing is left on it.
    """
    if prepared.rows.divided is None:
        return None
    model = fresh_model(prepared.recipe, prepared.rows.codec.record_layout())
    return encode_into(shards_in(run), prepared.rows, prepared.run_key, by_code=reads_by_code([model]))


def encode_into(folder: Folder, rows: Rows, run_key: str, *, by_code: bool) -> ShardIndex:
    """The shards in a folder, encoded for the run of that key unless they are there and whole.

    Raises:
        StorageError: a full disk; nothing is left on it.
    """
    key = fingerprint({"run": run_key, "codec": rows.codec.to_files()[0], "by_code": by_code})
    found = _earlier(folder, key)
    if found is not None:
        return found
    with Progress("encoding rows", rows.train_rows) as bar:

        def encode(
            tables: Iterator[pa.Table], codec: Codec, writer: ShardWriter, placed: Collection[int]
        ) -> Iterable[int]:
            tasks = _tasks_for(-(-rows.train_rows // writer.part_rows))
            if tasks:
                return encode_in_tasks(tables, codec, writer, placed, tasks)
            return encode_here(tables, codec, writer, placed)

        return write_shards(rows, folder, key=key, by_code=by_code, encode=encode, told=bar.update)


def _tasks_for(parts: int) -> int:
    """How many tasks encode at a time; 0: this process does, as nobody else is free, or could start before it
    is done."""
    if parts < LEAST_PARTS or not ray.is_initialized():
        return 0
    return min(parts, cluster.free_room({"CPU": 1}))


def _earlier(folder: Folder, key: str) -> ShardIndex | None:
    """What an earlier attempt encoded; None where there is nothing, or something is damaged."""
    index = find_index(folder, key)
    if index is None:
        return None
    try:
        check_shards(folder, index)
    except IntegrityError as fault:
        say(f"{fault}; the rows are encoded again")
        return None
    say(f"{index.rows:,} rows were encoded before")
    return index
