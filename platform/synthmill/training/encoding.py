"""The step between preparing and training a source that is read in blocks: its training rows are encoded
once, into shards in a folder."""

from collections.abc import Callable, Collection, Iterable, Iterator

import pyarrow as pa

from synthmill.data.codecs.base import Codec
from synthmill.data.places import UnevenError
from synthmill.data.shards import ShardIndex, ShardWriter, room_for
from synthmill.errors import StorageError
from synthmill.models.base import GenerativeModel
from synthmill.storage.folder import Folder
from synthmill.training.prepare import Rows

Encode = Callable[[Iterator[pa.Table], Codec, ShardWriter, Collection[int]], Iterable[int]]
"""Writes blocks of rows, encoded, and tells how many at a time."""


def reads_by_code(models: Iterable[GenerativeModel]) -> bool:
    """Whether one of them draws its rows by category, which takes an index beside the shards."""
    return any(
        phase.sampling == "category" for model in models for stage in model.stages() for phase in stage.phases
    )


def encode_here(
    tables: Iterator[pa.Table], codec: Codec, writer: ShardWriter, placed: Collection[int]
) -> Iterator[int]:
    """Encode in this process."""
    for table in tables:
        writer.write(codec.columns(table, placed))
        yield table.num_rows


def write_shards(
    rows: Rows,
    folder: Folder,
    *,
    key: str,
    by_code: bool,
    encode: Encode = encode_here,
    told: Callable[[int], None] = lambda done: None,
) -> ShardIndex:
    """Encode the training rows of a source that is read in blocks; `told` how many are done.

    Raises:
        StorageError: a full disk; nothing is left on it.
    """
    layout, codec = rows.codec.record_layout(), rows.codec
    places = codec.places(rows.tables.train)
    while True:
        room_for(folder, layout, rows.train_rows, by_code=by_code, places=places)
        writer = ShardWriter(folder, layout, key=key, by_code=by_code, places=places)
        try:
            return _written(rows, writer, places, encode, told)
        except UnevenError as uneven:
            # A cell that the sample did not show. What a row takes is decided for all rows: begin again.
            del places[uneven.value]


def _written(
    rows: Rows, writer: ShardWriter, placed: Collection[int], encode: Encode, told: Callable[[int], None]
) -> ShardIndex:
    """All training rows, in order."""
    assert rows.divided is not None, "the source is read in blocks"
    learnt, done = {span.column for span in rows.codec.record_layout().discrete}, 0
    names = [name for name in rows.divided.scan.schema.names if name in learnt]
    try:
        with writer:
            for count in encode(rows.divided.coded(names), rows.codec, writer, placed):
                done += count
                told(done)
            assert done == rows.train_rows, f"{done} rows came, {rows.train_rows} were counted"
            return writer.finish()
    except StorageError as fault:
        raise StorageError(f"after {done:,} of {rows.train_rows:,} rows were encoded: {fault}") from fault
