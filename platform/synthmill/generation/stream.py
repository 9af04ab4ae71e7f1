"""The rows of a plan a few blocks at a time: for answers that begin before all rows are there, and that can
be abandoned.

Seeded pieces, put together, are the rows of `Generator.shard`: blocks are keyed by their number alone and a
row's decoding depends on its own codes (identifiers: on its number), so where the cuts are does not matter.
"""

from collections.abc import Iterator
from itertools import chain

import numpy as np
import pyarrow as pa
import torch

from synthmill.data.batch import Batch, concat, with_noise
from synthmill.errors import TooRareError
from synthmill.generation.blocks import BLOCK_ROWS, one_thread, sample_block
from synthmill.generation.condition import Where
from synthmill.generation.generator import LEAST_TRIES, Generator
from synthmill.generation.shards import Shard, ShardPlan
from synthmill.models.base import Condition, GenerativeModel

PIECE_BLOCKS = 8
DRAWS_PER_ROW = 16


def seeded_pieces(generator: Generator, plan: ShardPlan, *, blocks: int = PIECE_BLOCKS) -> Iterator[pa.Table]:
    """Tables of at most `blocks` blocks that are, in order, the rows of the plan; empty ones where no row met
    the condition.

    Raises:
        TooRareError: after `plan.max_tries_per_row` rows generated for each row wanted; states the acceptance
        rate.
    """
    assert not plan.quotas, "balanced rows are shuffled within a shard; they come shard by shard"
    generator.check(plan)
    where = Where.parse(list(plan.where))
    tables = (
        _table(generator, batch, first_row, plan.columns)
        for shard in plan.shards()
        for batch, first_row in _shard(generator, plan, shard, where, blocks)
    )
    while True:
        with one_thread():
            table = next(tables, None)
        if table is None:
            return
        yield table


def free_pieces(
    generator: Generator,
    model: GenerativeModel,
    rows: int,
    *,
    columns: tuple[str, ...] | None,
    piece_rows: int,
) -> Iterator[pa.Table]:
    """Unseeded rows from `model` (a copy of the generator's, perhaps on a GPU), in tables of at most
    `piece_rows` rows."""
    for first_row in range(0, rows, piece_rows):
        batch = draw(model, min(piece_rows, rows - first_row))
        yield _table(generator, batch, first_row, columns)


def draw(model: GenerativeModel, rows: int, condition: Condition | None = None) -> Batch:
    """Unseeded rows, on the CPU."""
    tensors = chain(model.parameters(), model.buffers())
    generator = torch.Generator(device=next((tensor.device for tensor in tensors), torch.device("cpu")))
    generator.seed()
    with torch.inference_mode():
        return with_noise(model.sample(rows, condition=condition, generator=generator), generator).to("cpu")


def native_condition(generator: Generator, clauses: tuple[str, ...]) -> Condition | None:
    """What the model itself can be told, when that is all that the one clause says; None: rows must be
    rejected."""
    where = Where.parse(clauses)
    where.check(generator.codec)
    return (
        where.native(generator.codec) if len(clauses) == 1 and generator.model.conditions != "none" else None
    )


def draw_where(
    generator: Generator, model: GenerativeModel, rows: int, clauses: tuple[str, ...], condition: Condition
) -> Batch:
    """Unseeded rows that the model was told a condition for; the few that do not meet it are drawn again.

    Raises:
        TooRareError: the model hardly ever heeds it.
    """
    where = Where.parse(clauses)
    kept: list[Batch] = []
    found = tried = 0
    while found < rows:
        if tried >= DRAWS_PER_ROW * rows:
            raise _too_rare(where, found, tried, rows)
        batch = draw(model, rows, condition)
        mask = where.mask(generator.codec.conditions(batch))
        kept.append(batch.take(torch.from_numpy(np.flatnonzero(mask))))
        found, tried = found + int(mask.sum()), tried + rows
    return concat(kept).take(slice(0, rows))


def _shard(
    generator: Generator, plan: ShardPlan, shard: Shard, where: Where, blocks: int
) -> Iterator[tuple[Batch | None, int]]:
    """(rows that meet the condition, number of the first) of one shard."""
    native = where.native(generator.codec) if generator.model.conditions != "none" else None
    told = generator.told(plan, native)
    limit = max(LEAST_TRIES, shard.rows * plan.max_tries_per_row)
    block = found = tried = 0
    while found < shard.rows:
        if tried >= limit:
            raise _too_rare(where, found, tried, shard.rows)
        size = min(blocks, -(-(shard.rows - found) // BLOCK_ROWS))
        paths = [(shard.index, 0, block + i) for i in range(size)]
        batch = concat(
            [sample_block(generator.model, seed=plan.seed, path=path, condition=told) for path in paths]
        )
        block, tried = block + size, tried + batch.num_rows
        if where.clauses:
            mask = where.mask(generator.codec.conditions(batch))
            batch = batch.take(torch.from_numpy(np.flatnonzero(mask)))
        batch = batch.take(slice(0, shard.rows - found))
        yield batch if batch.num_rows else None, plan.first_id + shard.first_row + found
        found += batch.num_rows


def _table(
    generator: Generator, batch: Batch | None, first_row: int, columns: tuple[str, ...] | None
) -> pa.Table:
    table = (
        generator.schema.empty_table()
        if batch is None
        else generator.codec.decode(batch, first_row=first_row)
    )
    return table.select(list(columns)) if columns is not None else table


def _too_rare(where: Where, found: int, tried: int, wanted: int) -> TooRareError:
    return TooRareError(
        f"{where}: only {found:,} of {tried:,} generated rows met it ({found / tried:.4%}) where {wanted:,}"
        " were wanted; relax the condition, or train on more rows that meet it",
        field="where",
    )
