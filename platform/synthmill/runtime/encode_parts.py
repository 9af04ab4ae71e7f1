"""Parts of a streamed source, encoded by Ray tasks: this process reads and divides the rows, and hands each
task those of one part. What is written is the same whoever writes it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from synthmill.data.codecs.base import Codec, codec_from_files
from synthmill.data.places import Places, UnevenError
from synthmill.data.records import Record
from synthmill.data.shards import Part, ShardWriter, write_part
from synthmill.errors import SynthmillError
from synthmill.runtime import cluster
from synthmill.storage.folder import Folder


@dataclass(frozen=True)
class _Common:
    """What all tasks need, once in the object store."""

    environment: Mapping[str, str]
    codec: tuple[Mapping[str, Any], Mapping[str, Any]]
    folder: Folder
    places: Mapping[int, Places]
    by_code: bool


def encode_in_tasks(
    tables: Iterator[pa.Table], codec: Codec, writer: ShardWriter, placed: Collection[int], most: int
) -> Iterator[int]:
    """How many rows were encoded, part by part; at most so many tasks at a time.

    Raises:
        UnevenError, StorageError: as a task met it.
    """
    places = {span: writer.places[span] for span in placed}
    files = codec.to_files()
    common = ray.put(_Common(cluster.environment(), files, writer.folder, places, writer.by_code))
    task = ray.remote(num_cpus=1, max_retries=3)(_encode_part)
    running: list[Any] = []
    for number, part in enumerate(_parts(tables, writer.part_rows)):
        # One more than run waits with its rows, so that no task waits for this process.
        if len(running) > most:
            yield _next(running, writer)
        running.append(task.remote(common, number, part))
    while running:
        yield _next(running, writer)


def _next(running: list[Any], writer: ShardWriter) -> int:
    """Rows of the next part in order, once it is written."""
    found = ray.get(running.pop(0))
    if isinstance(found, Exception):
        # What still runs must not write into the folder that is being removed.
        ray.wait(running, num_returns=len(running)) if running else None
        raise found
    writer.add(found)
    return int(found.rows)


def _parts(tables: Iterator[pa.Table], part_rows: int) -> Iterator[list[pa.Table]]:
    """The rows of each part, in order."""
    part: list[pa.Table] = []
    room = part_rows
    for table in tables:
        at = 0
        while at < table.num_rows:
            piece = table.slice(at, room)
            part.append(piece)
            at, room = at + piece.num_rows, room - piece.num_rows
            if not room:
                yield part
                part, room = [], part_rows
    if part:
        yield part


def _encode_part(common: _Common, number: int, tables: list[pa.Table]) -> Part | UnevenError | SynthmillError:
    cluster.adopt(common.environment)
    codec = codec_from_files(*common.codec)
    record = Record.of(codec.record_layout(), common.places)
    rows = np.zeros(sum(table.num_rows for table in tables), record.dtype)
    at = 0
    try:
        for table in tables:
            record.write(codec.columns(table, common.places), rows[at : at + table.num_rows])
            at += table.num_rows
        return write_part(common.folder, record, number, rows, by_code=common.by_code)
    except (UnevenError, SynthmillError) as fault:
        # Returned, as Ray would wrap it.
        return fault
