"""The rows of a plan a few blocks at a time: for answers that begin before all rows are there, and that can
be abandoned.

Seeded pieces, put together, are the rows of `Generator.shard`: blocks are keyed by their number alone and a
row's decoding depends on its own codes (identifiers: on its number), so where the cuts are does not matter.
"""

from collections.abc import Iterator

import pyarrow as pa

from synthmill.generation.generator import Generator
from synthmill.generation.rejection import Once
from synthmill.generation.sampler import Sampler, one_thread
from synthmill.generation.shards import ShardPlan

PIECE_BLOCKS = 8


def seeded_pieces(generator: Generator, plan: ShardPlan, *, blocks: int = PIECE_BLOCKS) -> Iterator[pa.Table]:
    """Tables of at most `blocks` blocks that are, in order, the rows of the plan; empty ones where no row
    satisfied the condition.

    Raises:
        TooRareError: after `plan.max_tries_per_row` rows generated for each requested one; states the
        acceptance rate.
    """
    assert not plan.quotas, "balanced rows are shuffled within a shard; they come shard by shard"
    generator.check(plan)
    tables = _tables(generator, plan, blocks)
    while True:
        # Not around the whole loop: between two pieces other work of the process has all its threads.
        with one_thread():
            table = next(tables, None)
        if table is None:
            return
        yield table


def _tables(generator: Generator, plan: ShardPlan, blocks: int) -> Iterator[pa.Table]:
    for shard in plan.shards():
        first_row = plan.first_id + shard.first_row
        for batch in generator.batches(plan, shard, most_blocks=blocks):
            yield generator.decode(batch, first_row=first_row, columns=plan.columns)
            first_row += batch.num_rows


def fresh_pieces(
    generator: Generator, sampler: Sampler, rows: int, *, columns: tuple[str, ...] | None, piece_rows: int
) -> Iterator[pa.Table]:
    """Unseeded rows in tables of at most `piece_rows` rows; `sampler` has a copy of the generator's model,
    perhaps on a GPU."""
    once = Once(sampler.codec)
    for first_row in range(0, rows, piece_rows):
        batch = sampler.draw_fresh(min(piece_rows, rows - first_row), once=once)
        yield generator.decode(batch, first_row=first_row, columns=columns)
