"""Jobs on models of sequences: what is asked for is counted in whole sequences, and so are shards."""

from dataclasses import replace
from typing import TYPE_CHECKING

from synthmill.errors import UserError

if TYPE_CHECKING:
    from synthmill.generation.generator import Generator
    from synthmill.generation.shards import ShardPlan
    from synthmill.runtime.augment import AugmentRequest

SHARD_ROWS = 65_536
"""About the rows of a part, where nothing else is asked for."""
LEAST_SEQUENCES = 1024
"""Of a part: a block, which is computed as a whole."""


def one_of(rows: int | None, sequences: int | None) -> int:
    """What is asked for; UserError unless it is one of them."""
    if rows is not None and sequences is not None:
        raise UserError("means nothing beside --rows; leave one of them out", field="--sequences")
    wanted = sequences if rows is None else rows
    if wanted is None:
        raise UserError("say how many to publish, or --sequences of a model of those", field="--rows")
    return wanted


def in_unit(request: "AugmentRequest", generator: "Generator") -> "AugmentRequest":
    """The request, whose parts have a fixed number of whole sequences where the model generates those: their
    rows vary, and are the same at any number of workers.

    Raises:
        UserError: rows of a model of sequences, or the other way round; an option that would cut sequences.
    """
    rows, sequences = (None, request.rows) if request.sequences else (request.rows, None)
    generator.wanted(rows, sequences, field="--rows", other="--sequences")
    steps = generator.codec.steps
    if steps is None:
        return request
    if request.mix_real:
        raise UserError("publishes single rows beside whole sequences; leave it out", field="--mix-real")
    if request.file_bytes is not None:
        raise UserError("is for rows; give --shard-rows, the sequences of a part", field="--file-size")
    cutting = next((name for name in request.output.partition_by if name in steps.plan.changing), None)
    if cutting is not None:
        raise UserError(
            f"{cutting!r} changes within a sequence, whose rows would lie in several folders; use a column"
            " that all rows of one share",
            field="--partition-by",
        )
    if request.balance is not None and request.balance not in generator.codec.condition_columns():
        there = " or ".join(map(repr, generator.codec.condition_columns())) or "a column that all rows share"
        raise UserError(f"{request.balance!r} {generator.codec.incomparable}; use {there}", field="--balance")
    if request.shard_rows != SHARD_ROWS:
        return request
    blocks = round(SHARD_ROWS / steps.plan.mean_length / LEAST_SEQUENCES)
    return replace(request, shard_rows=max(1, blocks) * LEAST_SEQUENCES)


def expected_rows(generator: "Generator", wanted: int, plan: "ShardPlan | None" = None) -> int:
    """About how many rows so many rows or sequences are; those after a history are as the plan says."""
    if plan is not None and plan.steps is not None:
        return wanted * plan.steps * (plan.futures or 1)
    steps = generator.codec.steps
    return wanted if steps is None else round(wanted * steps.plan.mean_length)
