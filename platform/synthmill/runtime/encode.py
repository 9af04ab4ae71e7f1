"""The step between preparing and training a source that is streamed: its training rows are encoded once, into
shards in the run's folder."""

from synthmill.config import fingerprint
from synthmill.data.shards import ShardIndex, ShardWriter, check_shards, find_index, room_for
from synthmill.errors import IntegrityError, StorageError
from synthmill.runtime.prepare import Prepared
from synthmill.runtime.progress import Progress, say
from synthmill.storage.folder import Folder
from synthmill.training.fit import fresh_model

SHARDS = "shards"


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
    room_for(folder, layout, rows.train_rows, by_code=by_code)
    done = 0
    try:
        with (
            Progress("encoding rows", rows.train_rows) as bar,
            ShardWriter(folder, layout, key=key, by_code=by_code) as writer,
        ):
            for table in rows.divided.tables():
                writer.write(rows.codec.encode(table))
                done += table.num_rows
                bar.update(done)
            assert done == rows.train_rows, f"{done} rows came, {rows.train_rows} were counted"
            return writer.finish()
    except StorageError as fault:
        raise StorageError(f"after {done:,} of {rows.train_rows:,} rows were encoded: {fault}") from fault


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
