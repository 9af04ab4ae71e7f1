"""Histories of sequences as a job: which go on, in which order, and in which parts."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from synthmill.generation.shards import Shard, ShardPlan
from synthmill.runtime.given import FIELD, GivenRows

if TYPE_CHECKING:
    from synthmill.data.columns import Int64
    from synthmill.generation.continuing import Ahead
    from synthmill.generation.generator import Generator


@dataclass(frozen=True)
class Begun:
    """Sequences that go on, one after the other in order of their first rows."""

    given: GivenRows
    starts: "Int64"
    """The row at which each begins, and the number of rows, (G + 1,)."""

    def plan(self, ahead: "Ahead", seed: int, shard_rows: int) -> ShardPlan:
        """Parts of about so many new rows, each of whole blocks of sequences: bytes do not depend on where
        parts are cut."""
        from synthmill.generation.sampler import BLOCK_ROWS

        blocks = round(shard_rows / (ahead.steps * ahead.futures * BLOCK_ROWS))
        return ShardPlan(
            rows=len(self.starts) - 1,
            seed=seed,
            where=ahead.where,
            given=self.given.sha256,
            steps=ahead.steps,
            futures=ahead.futures,
            shard_rows=max(1, blocks) * BLOCK_ROWS,
        )


def begun(generator: "Generator", given: GivenRows, ahead: "Ahead") -> Begun:
    """The sequences of a file that go on.

    Raises:
        UserError: a model of rows, less than one step or future, a condition on what changes, no sequence
        that meets it. DataError: a history that the model can't read.
    """
    from synthmill.data.sequences.history import runs_of_history, typed_history
    from synthmill.generation.continuing import meeting, most_rows, sequence_codec, set_codes

    codec = sequence_codec(generator, ahead, field="--model")
    typed = typed_history(codec, given.table, field=FIELD)
    runs = runs_of_history(codec, typed, most_rows(generator), field=FIELD)
    columns = given.table.column_names
    kept = np.arange(len(runs.starts))
    set_codes(codec, columns, ahead.where)
    if ahead.where:
        last = typed.take(pa.array(runs.rows[runs.starts + runs.lengths - 1]))
        kept = meeting(last, columns, ahead.where)
    rows = runs.rows[np.isin(runs.sequence, kept)]
    starts = np.append(0, np.cumsum(runs.lengths[kept]))
    return Begun(replace(given, table=given.table.take(pa.array(rows))), starts)


def given_of(given: GivenRows | None, starts: "Int64 | None", shard: Shard) -> pa.Table | None:
    """The rows of a shard that are completed; with `starts`, those of its sequences, which go on. Copied, as
    a slice would take the whole table along."""
    if given is None:
        return None
    first, end = shard.first_row, shard.first_row + shard.rows
    if starts is not None:
        first, end = int(starts[first]), int(starts[end])
    return given.table.slice(first, end - first).take(pa.array(range(end - first)))
