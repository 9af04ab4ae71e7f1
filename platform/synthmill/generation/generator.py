"""A trained model that can be sampled: network, codec and where both came from. Needs no Ray."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from synthmill.catalog.artifact import Artifact, read_artifact
from synthmill.catalog.migrations import migrate
from synthmill.catalog.store import Version
from synthmill.config import DataConfig, parse_model
from synthmill.data.batch import Batch, Condition, concat
from synthmill.data.codecs.base import Codec, codec_from_files
from synthmill.data.constraints.base import FIELD as CONSTRAINTS
from synthmill.data.sequences.steps import Steps
from synthmill.errors import ConditionError, DataError, UserError, did_you_mean
from synthmill.generation.clauses import Clause, Given, where_texts
from synthmill.generation.condition import Where, parse_latents
from synthmill.generation.rejection import Once, rejects
from synthmill.generation.sampler import BLOCK_ROWS, MOST_BLOCKS, Sampler, one_thread
from synthmill.generation.sequences import grown
from synthmill.generation.shards import Shard, ShardPlan
from synthmill.models.base import GenerativeModel, build


@dataclass(frozen=True)
class Generator:
    """A model version, loaded on the CPU and ready to sample."""

    model: GenerativeModel
    codec: Codec
    ref: str
    """`name@number`."""
    digest: str
    """Content digest of the artifact."""
    config: dict[str, Any]
    """The artifact's `config.json`."""

    @classmethod
    def load(cls, version: Version) -> "Generator":
        """Read and verify an artifact.

        Raises:
            IntegrityError: a file's bytes changed; names the file.
        """
        return cls.of(read_artifact(version), ref=version.ref, digest=version.manifest.content_digest)

    @classmethod
    def of(cls, artifact: Artifact, *, ref: str, digest: str) -> "Generator":
        """An artifact, ready to sample; it need not be in a store."""
        codec = codec_from_files(artifact.codec, artifact.codec_tensors)
        name = str(artifact.config["model"])
        model = build(name, artifact.config["model_config"], codec.layout)
        # Weights of earlier versions have other names.
        model.load_state_dict(migrate(name, artifact.weights, model.state_dict()))
        # BatchNorm and dropout would mix rows of a block and draw numbers of their own.
        model.eval()
        return cls(model, codec, ref, digest, artifact.config)

    @property
    def schema(self) -> pa.Schema:
        """Columns of the sampled rows."""
        return self.codec.schema

    def sample(
        self,
        num_rows: int,
        *,
        seed: int,
        where: Given | Iterable[Given] = (),
        columns: list[str] | None = None,
        latent: Mapping[str, float] | None = None,
    ) -> pa.Table:
        """`num_rows` rows (or so many sequences, of a model of those) that satisfy every clause of `where`;
        equal to the first rows of an augment job with the same seed.

        `latent` fixes codes of models that have some (infogan: `c1`, `c2`, ...; `model.latent_codes`).

        Raises:
            ConditionError: a clause can't be parsed, names no column or value, or is satisfied too rarely;
            an unknown code.
        """
        if num_rows < 1:
            raise UserError(f"must be at least 1, got {num_rows}", field="num_rows")
        clauses = where_texts(where)
        codes = tuple(f"{name}={value!r}" for name, value in (latent or {}).items())
        wanted = tuple(columns) if columns is not None else None
        plan = ShardPlan(rows=num_rows, seed=seed, where=clauses, columns=wanted, latent=codes)
        self.check(plan)
        return pa.concat_tables([self.shard(plan, shard) for shard in plan.shards()])

    def wanted(self, rows: int | None, sequences: int | None, *, field: str, other: str) -> int:
        """What is asked for, in the unit that this model generates; `field` and `other` are what rows and
        sequences are called.

        Raises:
            UserError: neither, both, or the other one.
        """
        if (rows is None) == (sequences is None):
            raise UserError(f"say how many {self.unit} to generate, and nothing else", field=field)
        if self.codec.steps is not None:
            if sequences is None:
                mean = self.codec.steps.plan.mean_length
                raise UserError(
                    f"{self.ref} generates whole sequences, of {mean:.1f} rows on average, so the number of"
                    f" rows is not known before; ask for {other} instead",
                    field=field,
                )
            return sequences
        if rows is None:
            raise UserError(
                f"{self.ref} was not trained with data.group_by and generates no sequences; ask for {field}"
                " instead",
                field=other,
            )
        return rows

    @cached_property
    def sampler(self) -> Sampler:
        """Draws this model's rows."""
        return Sampler(self.model, self.codec)

    @property
    def unit(self) -> str:
        """What is asked for and counted: `rows`, or whole `sequences`."""
        return "rows" if self.codec.steps is None else "sequences"

    @property
    def kind(self) -> str:
        """The kind of data that it generates."""
        stated = parse_model(DataConfig, self.config["recipe"]["data"]).kind
        return self.model.modalities[0] if stated == "auto" else stated

    def check(self, plan: ShardPlan) -> None:
        """Refuse a plan that names columns or values this model does not have."""
        names = self.schema.names
        for column in plan.columns or ():
            if column not in names:
                raise ConditionError(f"no column {column!r}{did_you_mean(column, names)}", field="--columns")
        if plan.balance is not None and plan.balance not in names:
            raise ConditionError(
                f"no column {plan.balance!r}{did_you_mean(plan.balance, names)}", field="--balance"
            )
        if plan.balance is not None:
            classes_of(self, plan.balance)
        for name, room in self.codec.id_rooms():
            if plan.first_id + plan.rows > room and name in (plan.columns or names):
                kind = self.schema.field(name).type
                fix = "ask for fewer rows, leave the column out, or give it a wider type in the source"
                raise UserError(
                    f"identifiers {name!r} of type {kind} can number {room:,} rows; {fix}", field="--rows"
                )
        self._room(plan)
        self._where(plan, None)
        self._latent(plan)

    def _room(self, plan: ShardPlan) -> None:
        """UserError where unique columns can't have as many different values as rows are asked for."""
        for one in self.codec.unique:
            levels = [self.codec.levels(name) for name in one.columns]
            if all(own is not None for own in levels):
                room = math.prod(len(own or ()) for own in levels)
                if plan.rows > room:
                    raise UserError(
                        f"{one.text}: the model knows {room:,} different values; ask for fewer rows",
                        field="--rows",
                    )

    def batches(self, plan: ShardPlan, shard: Shard, *, most_blocks: int = MOST_BLOCKS) -> Iterator[Batch]:
        """The encoded rows of one shard of a plan without quotas, in order."""
        once = Once(self.codec, shard.index, plan.num_shards)
        yield from self._group(plan, shard, 0, shard.rows, self._where(plan, None), most_blocks, once)

    def shard(self, plan: ShardPlan, shard: Shard) -> pa.Table:
        """All rows of one shard, in their final order and columns.

        Raises:
            ConditionError: after `plan.max_tries_per_row` rows generated for each row wanted; states the
            acceptance rate.
        """
        with one_thread():
            rows = self._balanced(plan, shard) if plan.quotas else concat(list(self.batches(plan, shard)))
            first_row = plan.first_id + shard.first_row
            if self.codec.steps is not None:
                return pa.concat_tables(self._sequences(plan, shard, rows, self.codec.steps, first_row))
            return self.decode(rows, first_row=first_row, columns=plan.columns)

    def _sequences(
        self, plan: ShardPlan, shard: Shard, first: Batch, steps: Steps, first_row: int
    ) -> Iterator[pa.Table]:
        """All rows of the sequences that begin with these, a block at a time."""
        path = (shard.index,)
        for number, rows in enumerate(grown(self.model, steps, first, seed=plan.seed, path=path)):
            yield self.decode(rows, first_row=first_row + number * BLOCK_ROWS, columns=plan.columns)

    def decode(self, batch: Batch, *, first_row: int, columns: tuple[str, ...] | None) -> pa.Table:
        """A table of encoded rows; `first_row` is the number of the first, `columns` those to keep (None:
        all)."""
        table = self.codec.decode(batch, first_row=first_row) if batch.num_rows else self.schema.empty_table()
        return table.select(list(columns)) if columns is not None else table

    def _balanced(self, plan: ShardPlan, shard: Shard) -> Batch:
        """The rows of every class in a shard, shuffled by the plan's seed."""
        once = Once(self.codec, shard.index, plan.num_shards)
        groups = [
            batch
            for group, quota in enumerate(plan.shard_quotas(shard.index))
            if quota.rows
            for batch in self._group(
                plan, shard, group, quota.rows, self._where(plan, quota.value), MOST_BLOCKS, once
            )
        ]
        # Shuffled, or a reader of the first rows would see one class alone.
        key, counter = plan.seed & (2**64 - 1), shard.index
        order = np.random.Generator(np.random.Philox(key=key, counter=counter)).permutation(shard.rows)
        return concat(groups).take(torch.from_numpy(order))

    def _group(
        self,
        plan: ShardPlan,
        shard: Shard,
        group: int,
        rows: int,
        where: Where,
        most_blocks: int,
        once: Once,
    ) -> Iterator[Batch]:
        if plan.where:
            field = "--where"
        else:
            field = "--balance" if plan.balance is not None or not rejects(self.codec) else CONSTRAINTS
        return self.sampler.seeded(
            rows,
            seed=plan.seed,
            path=(shard.index, group),
            where=where,
            latent=self._latent(plan),
            tries_per_row=plan.max_tries_per_row,
            most_blocks=most_blocks,
            field=field,
            once=once,
            shards=plan.num_shards if self.codec.unique else 1,
        )

    def _where(self, plan: ShardPlan, value: str | None) -> Where:
        """The plan's condition, and the class `value` of the balanced column."""
        balanced = [] if plan.balance is None or value is None else [Clause(plan.balance, "=", value)]
        where = Where.parse([*plan.where, *balanced])
        where.check(self.codec)
        return where

    def _latent(self, plan: ShardPlan) -> Condition | None:
        codes = parse_latents(plan.latent, self.model.latent_codes) if plan.latent else {}
        if self.codec.steps is not None:
            # Sequences are drawn by their first rows.
            return self.codec.steps.first
        return Condition(latent=codes) if codes else None


def classes_of(generator: Generator, column: str) -> list[str]:
    """The values of a column that can be balanced.

    Raises:
        DataError: the column is not categorical or boolean.
    """
    levels = generator.codec.levels(column)
    if levels is None:
        raise DataError(
            f"{column!r} is not a categorical column; there is nothing to equalise", field="--balance"
        )
    return levels
