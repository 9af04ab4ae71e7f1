"""What a generation job consists of: shards of 65,536 rows, each complete in itself.

A shard's rows depend on (model, seed, shard index, conditions) and on nothing else. Conditions and class
quotas apply inside the shard, so that every shard, and the whole, has exactly the requested rows.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import Field

from synthmill.config import FrozenModel
from synthmill.errors import ConditionError

SHARD_ROWS = 65_536


@dataclass(frozen=True)
class Shard:
    """One part of a job: rows `first_row .. first_row + rows`."""

    index: int
    first_row: int
    rows: int


class Quota(FrozenModel):
    """How many rows of the whole job have this value in the balanced column."""

    value: str
    rows: int


class ShardPlan(FrozenModel):
    """Everything about a job's rows but the model."""

    rows: int
    seed: int
    where: tuple[str, ...] = ()
    latent: tuple[str, ...] = ()
    """Latent codes to fix, as NAME=VALUE, for models that have some."""
    balance: str | None = None
    """The column that `quotas` equalise."""
    quotas: tuple[Quota, ...] = ()
    columns: tuple[str, ...] | None = None
    """Columns to write, in this order; None: all."""
    first_id: int = 0
    """Row number that identifiers count from; above 0 where real rows stand among the generated ones."""
    shard_rows: int = SHARD_ROWS
    given: str | None = Field(None, exclude_if=lambda value: value is None)
    """SHA-256 of the file whose rows are completed; None: rows are drawn freely."""
    steps: int | None = Field(None, exclude_if=lambda value: value is None)
    """Rows after those of each given sequence, which `rows` counts; None: given rows are completed."""
    futures: int | None = Field(None, exclude_if=lambda value: value is None)
    """How often those are drawn."""
    max_tries_per_row: int = 1000
    """Rows generated for each requested one before a condition is given up."""

    @property
    def num_shards(self) -> int:
        return -(-self.rows // self.shard_rows)

    def shard(self, index: int) -> Shard:
        first = index * self.shard_rows
        assert 0 <= first < self.rows, f"shard {index} of {self.num_shards}"
        return Shard(index, first, min(self.shard_rows, self.rows - first))

    def shards(self) -> Iterator[Shard]:
        return (self.shard(index) for index in range(self.num_shards))

    def shard_quotas(self, index: int) -> tuple[Quota, ...]:
        """A shard's rows of each value; they add up to the shard's rows and, over all shards, to `quotas`.

        Shard by shard in proportion to what is left (largest remainders first), so that every shard is as
        balanced as whole rows allow.
        """
        share = _dealt(tuple(quota.rows for quota in self.quotas), self.rows, self.shard_rows)[index]
        return tuple(
            Quota(value=quota.value, rows=rows) for quota, rows in zip(self.quotas, share, strict=True)
        )


@functools.lru_cache(maxsize=2)
def _dealt(quotas: tuple[int, ...], rows: int, shard_rows: int) -> list[list[int]]:
    """Every shard's share; cached, as each shard of a job depends on what all before it took."""
    left, dealt = list(quotas), []
    for first in range(0, rows, shard_rows):
        dealt.append(_proportional(left, min(shard_rows, rows - first)))
        left = [have - take for have, take in zip(left, dealt[-1], strict=True)]
    return dealt


def _proportional(left: list[int], rows: int) -> list[int]:
    # Largest remainders, ties by place: in integers, so that every machine deals out the same.
    total = sum(left)
    share = [have * rows // total for have in left]
    by_remainder = sorted(range(len(left)), key=lambda k: (-(left[k] * rows % total), k))
    for k in by_remainder[: rows - sum(share)]:
        share[k] += 1
    return share


def level_quotas(existing: dict[str, int], rows: int) -> tuple[Quota, ...]:
    """Spread `rows` new rows over classes so that, with the `existing` ones, classes are as equal as they can
    be.

    Raises:
        ConditionError: fewer than two classes.
    """
    if len(existing) < 2:
        raise ConditionError("needs a column with at least two classes", field="--balance")
    order = sorted(existing, key=lambda value: (existing[value], value))
    counts = [existing[value] for value in order]
    # The water level: the k smallest classes are filled up to (rows + their rows) / k; k is the most that
    # this reaches.
    k = next(k for k in range(len(counts), 0, -1) if rows + sum(counts[:k]) >= k * counts[k - 1])
    level, extra = divmod(rows + sum(counts[:k]), k)
    added = {
        value: level + (rank < extra) - existing[value] if rank < k else 0 for rank, value in enumerate(order)
    }
    return tuple(Quota(value=value, rows=added[value]) for value in sorted(added))
