"""The next rows of sequences that have begun."""

import pyarrow as pa
import torch

from synthmill.data.batch import Batch, concat
from synthmill.data.columns import plain_table
from synthmill.data.sequences.codec import SequenceCodec
from synthmill.data.sequences.history import History, continued, read_history
from synthmill.errors import UserError
from synthmill.generation.generator import Generator
from synthmill.generation.sampler import BLOCK_ROWS, device_of, one_thread
from synthmill.generation.sequences import next_rows, whole_block

PATH = 2**31 + 1
"""Of these blocks' seeds: those of sampled rows begin with a shard's number, which is smaller."""


def continue_sequences(
    generator: Generator, table: pa.Table, steps: int, *, seed: int, field: str
) -> pa.Table:
    """The `steps` rows after those of each key in `table`, which holds some rows of each: keys in order of
    their first rows, each with its own key, what is static in it, and its order going on.

    All have so many rows: what is drawn is drawn given that another row follows.

    Raises:
        UserError: a model of rows, or less than one step. DataError: a history that the model can't read;
        names `field`.
    """
    codec = generator.codec
    if not isinstance(codec, SequenceCodec):
        raise UserError(
            f"{generator.ref} learnt rows that stand for themselves; train with data.group_by", field=field
        )
    if steps < 1:
        raise UserError(f"must be at least 1, got {steps}", field="steps")
    with one_thread():
        history = read_history(codec, plain_table(table), field=field)
        parts = [
            continued(codec, history, _after(generator, codec, history, first, steps, seed), first)
            for first in range(0, history.last.num_rows, BLOCK_ROWS)
        ]
    return pa.concat_tables(parts)


def _after(
    generator: Generator, codec: SequenceCodec, history: History, first: int, steps: int, seed: int
) -> Batch:
    """The rows of a block of sequences, one sequence after the other."""
    model, device, block = generator.model, device_of(generator.model), slice(first, first + BLOCK_ROWS)
    last = history.last.take(block)
    # What goes with each row is repeated along with it where the block is not full.
    index = torch.arange(BLOCK_ROWS) % last.num_rows
    rows = whole_block(last).to(device)
    known_BS = history.known_GS[block][index].to(device)
    positions_B = history.positions_G[block][index].to(device)
    parts = []
    for step in range(steps):
        rows = next_rows(
            model,
            codec.steps,
            rows,
            positions_B + 1 + step,
            seed=seed,
            path=(PATH, first // BLOCK_ROWS, step),
            is_known=known_BS,
            not_last=step + 1 < steps,
        )
        known_BS = codec.steps.known_after(known_BS)
        kept = rows.take(slice(0, last.num_rows)).to("cpu")
        parts.append(kept.with_(position=torch.full((last.num_rows,), step)))
    order = torch.arange(last.num_rows).repeat(steps).argsort(stable=True)
    return concat(parts).take(order)
