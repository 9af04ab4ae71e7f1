"""The step between preparing and training a source that is streamed: its training rows are encoded once, into
shards in the run's folder; many of them by tasks, a part each, where CPUs are free."""

from collections.abc import Collection, Iterator

import pyarrow as pa
import ray

from synthmill.config import fingerprint
from synthmill.data.codecs.base import Codec
from synthmill.data.places import UnevenError
from synthmill.data.shards import ShardIndex, ShardWriter, check_shards, find_index, room_for
from synthmill.errors import IntegrityError, StorageError
from synthmill.runtime import cluster
from synthmill.runtime.encode_parts import encode_in_tasks
from synthmill.runtime.prepare import Prepared
from synthmill.runtime.progress import Progress, say
from synthmill.storage.folder import Folder
from synthmill.training.fit import fresh_model

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
    rows = prepared.rows
    if rows.divided is None:
        return None
    folder, layout = shards_in(run), rows.codec.record_layout()
    model = fresh_model(prepared.recipe, layout)
    by_code = any(phase.sampling == "category" for stage in model.stages() for phase in stage.phases)
    key = fingerprint({"run": prepared.run_key, "codec": rows.codec.to_files()[0], "by_code": by_code})
    found = _earlier(folder, key)
    if found is not None:
        return found
    places = rows.codec.places(rows.tables.train)
    while True:
        room_for(folder, layout, rows.train_rows, by_code=by_code, places=places)
        writer = ShardWriter(folder, layout, key=key, by_code=by_code, places=places)
        try:
            return _encoded(prepared, writer, places)
        except UnevenError as uneven:
            # A cell that the sample did not show. What a row takes is decided for all rows: begin again.
            del places[uneven.value]


def _encoded(prepared: Prepared, writer: ShardWriter, placed: Collection[int]) -> ShardIndex:
    """All training rows, written in order."""
    rows, done = prepared.rows, 0
    assert rows.divided is not None, "the source is streamed"
    learnt = {span.column for span in rows.codec.record_layout().discrete}
    names = [name for name in rows.divided.scan.schema.names if name in learnt]
    tasks = _tasks_for(-(-rows.train_rows // writer.part_rows))
    try:
        with Progress("encoding rows", rows.train_rows) as bar, writer:
            tables = rows.divided.coded(names)
            for count in (
                encode_in_tasks(tables, rows.codec, writer, placed, tasks)
                if tasks
                else _encode_here(tables, rows.codec, writer, placed)
            ):
                done += count
                bar.update(done)
            assert done == rows.train_rows, f"{done} rows came, {rows.train_rows} were counted"
            return writer.finish()
    except StorageError as fault:
        raise StorageError(f"after {done:,} of {rows.train_rows:,} rows were encoded: {fault}") from fault


def _encode_here(
    tables: Iterator[pa.Table], codec: Codec, writer: ShardWriter, placed: Collection[int]
) -> Iterator[int]:
    """How many rows were encoded, block by block."""
    for table in tables:
        writer.write(codec.columns(table, placed))
        yield table.num_rows


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
