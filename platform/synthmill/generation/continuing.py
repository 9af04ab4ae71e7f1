"""The next rows of sequences that have begun: one future of each, or several.

Sequences are computed in blocks of 1,024 in order of their first rows, and random numbers are keyed by (seed,
block, step, future), so futures are the same wherever a block is computed and however many are asked for.
Legend: B sequences of a block, S spans.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from synthmill.config import DataConfig, parse_model
from synthmill.data.batch import Batch, Condition, concat
from synthmill.data.codecs.base import Codec
from synthmill.data.columns import Int64, plain_table
from synthmill.data.constraints.base import free_name
from synthmill.data.sequences.codec import SequenceCodec
from synthmill.data.sequences.constrained import ConstrainedSequences
from synthmill.data.sequences.history import AnyCodec, History, continued, read_history, sequences_of
from synthmill.errors import ConditionError, UserError
from synthmill.generation.clauses import FIELD, where_texts
from synthmill.generation.condition import Where
from synthmill.generation.generator import Generator
from synthmill.generation.sampler import BLOCK_ROWS, device_of, one_thread
from synthmill.generation.sequences import next_rows, whole_block

PATH = 2**31 + 1
"""Of these blocks' seeds: those of sampled rows begin with a shard's number, which is smaller."""
FUTURE = "future"
"""The column that tells several futures of a sequence apart."""


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """What is asked for of each sequence."""

    steps: int
    """Rows after the last one."""
    futures: int = 1
    """How often those are drawn."""
    where: tuple[str, ...] = ()
    """Clauses on what all rows of a sequence share."""


def sequence_codec(generator: Generator, ahead: Ahead, *, field: str) -> AnyCodec:
    """The codec of a model of sequences.

    Raises:
        UserError: a model of rows, or less than one step or future. ConditionError: a clause that can't be
        read, or is on a column that changes.
    """
    codec = generator.codec
    if not isinstance(codec, SequenceCodec | ConstrainedSequences):
        raise UserError(
            f"{generator.ref} learnt rows that stand for themselves; train with data.group_by", field=field
        )
    for name, value in (("steps", ahead.steps), ("rows_per", ahead.futures)):
        if value < 1:
            raise UserError(f"must be at least 1, got {value}", field=name)
    Where.parse(where_texts(ahead.where)).check(codec)
    return codec


def most_rows(generator: Generator) -> int | None:
    """Rows of a sequence at most, where the recipe states it."""
    return parse_model(DataConfig, generator.config["recipe"]["data"]).max_length


def future_column(codec: Codec) -> str:
    """The name of the column that counts futures from 1."""
    return free_name(FUTURE, codec.schema.names)


def forecast(
    generator: Generator, table: pa.Table, ahead: Ahead, *, seed: int, field: str, first: int = 0
) -> pa.Table:
    """The rows after those of each key in `table`, which holds some rows of each: keys in order of their
    first rows, each with its own key, what is static in it, and its order going on; several futures of a
    sequence follow each other. `first` is the number of the first sequence, a multiple of 1,024.

    All have so many rows: what is drawn is drawn given that another row follows.

    Raises:
        UserError: as `sequence_codec`. DataError: a history that the model can't read; names `field`.
    """
    codec = sequence_codec(generator, ahead, field=field)
    assert first % BLOCK_ROWS == 0, "blocks are whole"
    with one_thread():
        most = most_rows(generator)
        history = read_history(codec, plain_table(table), field=field, most_rows=most)
        if ahead.where:
            history = history.take(meeting(history.rows, history.given, ahead.where))
        condition = set_codes(codec, history.given, ahead.where)
        parts = [
            _block(generator, codec, history, condition, at, ahead, seed, first)
            for at in range(0, history.last.num_rows, BLOCK_ROWS)
        ]
    return pa.concat_tables(parts)


def published(codec: Codec, rows: pa.Table) -> pa.Table:
    """Rows of `forecast` as a dataset has them."""
    made, number = codec.form.write(rows.select(codec.form.schema.names)), future_column(codec)
    return made.append_column(number, rows[number]) if number in rows.column_names else made


def meeting(last: pa.Table, given: Collection[str], where: Sequence[str]) -> Int64:
    """The sequences (places) whose last rows meet the clauses on columns that are given.

    Raises:
        ConditionError: none does.
    """
    clauses = Where.parse(where_texts(where)).clauses
    asked = Where(tuple(clause for clause in clauses if clause.column in given))
    kept = np.flatnonzero(asked.mask(last))
    if not len(kept):
        raise ConditionError(f"no sequence of the history has {asked}; relax the condition", field=FIELD)
    return kept


def set_codes(codec: Codec, given: Collection[str], where: Sequence[str]) -> Condition:
    """What the clauses on columns that a history lacks come to.

    Raises:
        ConditionError: one that no single code stands for.
    """
    condition = Condition()
    for clause in Where.parse(where_texts(where)).clauses:
        if clause.column in given:
            continue
        found = codec.condition(clause.column, clause.value) if clause.op == "=" else None
        if found is None:
            raise ConditionError(
                f"{clause}: the history lacks {clause.column!r}, which can then only be set to a category;"
                " give the column",
                field=FIELD,
            )
        condition = condition.merge(found)
    return condition


def _block(
    generator: Generator,
    codec: AnyCodec,
    history: History,
    condition: Condition,
    at: int,
    ahead: Ahead,
    seed: int,
    first: int,
) -> pa.Table:
    """The rows of a block of sequences: of each sequence one future after the other."""
    steps, futures = ahead.steps, ahead.futures
    size = min(BLOCK_ROWS, history.last.num_rows - at)
    tables = []
    for future in range(futures):
        path = (PATH, (first + at) // BLOCK_ROWS)
        rows = _after(generator, codec, history, condition, at, steps, seed, path, future)
        # Identifiers count on through the rows of all futures of a sequence, and through all sequences.
        begins = (np.arange(first + at, first + at + size) * futures + future) * steps
        numbers = (begins[:, None] + np.arange(steps)).reshape(-1).astype(np.uint64)
        tables.append(continued(codec, history, rows, at, numbers))
    if futures == 1:
        return tables[0]
    order = np.arange(futures * size * steps).reshape(futures, size, steps).transpose(1, 0, 2).reshape(-1)
    whole = pa.concat_tables(tables).take(pa.array(order))
    numbered = np.tile(np.repeat(np.arange(1, futures + 1), steps), size)
    return whole.append_column(future_column(codec), pa.array(numbered, pa.int64()))


def _after(
    generator: Generator,
    codec: AnyCodec,
    history: History,
    condition: Condition,
    at: int,
    steps: int,
    seed: int,
    path: tuple[int, ...],
    future: int,
) -> Batch:
    """One future of a block of sequences, one sequence after the other."""
    model, device, block = generator.model, device_of(generator.model), slice(at, at + BLOCK_ROWS)
    last = history.last.take(block)
    # What goes with each row is repeated along with it where the block is not full.
    index = torch.arange(BLOCK_ROWS) % last.num_rows
    rows = whole_block(last).to(device)
    known_BS = history.known_GS[block][index].to(device)
    for span, code in condition.codes.items():
        rows["codes"][:, span], known_BS[:, span] = code, True
    positions_B = history.positions_G[block][index].to(device)
    sequences, parts = sequences_of(codec), []
    for step in range(steps):
        rows = next_rows(
            model,
            sequences.steps,
            rows,
            positions_B + 1 + step,
            seed=seed,
            # The first future is what one alone would be.
            path=(*path, step) if not future else (*path, step, future),
            is_known=known_BS,
            not_last=step + 1 < steps,
        )
        known_BS = sequences.steps.known_after(known_BS)
        kept = rows.take(slice(0, last.num_rows)).to("cpu")
        parts.append(kept.with_(position=torch.full((last.num_rows,), step)))
    order = torch.arange(last.num_rows).repeat(steps).argsort(stable=True)
    return concat(parts).take(order)
