"""A trained model that can be sampled: network, codec and where both came from. Needs no Ray."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from synthmill.catalog.artifact import read_artifact
from synthmill.catalog.store import Version
from synthmill.data.batch import Batch, concat
from synthmill.data.codec import Codec, codec_from_files
from synthmill.data.pixels import to_uint8
from synthmill.data.tabular import TableCodec
from synthmill.errors import ConditionError, DataError, TooRareError, UserError, did_you_mean
from synthmill.generation.blocks import BLOCK_ROWS, block_seed, one_thread, sample_block
from synthmill.generation.condition import Clause, Where, parse_latent
from synthmill.generation.shards import Shard, ShardPlan
from synthmill.models._images import ImageModel
from synthmill.models.base import Condition, GenerativeModel, build

CHUNK_BLOCKS = 64
"""Blocks decoded together; bounds memory, and does not change a row."""
LEAST_TRIES = 256 * BLOCK_ROWS


@dataclass(frozen=True)
class Generator:
    """A model version, loaded on the CPU and ready to sample."""

    model: GenerativeModel
    codec: Codec
    ref: str
    """`name@number`."""
    digest: str
    """Content digest of the artifact."""
    config: dict[str, object]
    """The artifact's `config.json`."""

    @classmethod
    def load(cls, version: Version) -> "Generator":
        """Read and verify an artifact.

        Raises:
            IntegrityError: a file's bytes changed; names the file.
        """
        artifact = read_artifact(version)
        codec = codec_from_files(artifact.codec, dict(artifact.codec_tensors))
        model = build(str(artifact.config["model"]), artifact.config["model_config"], codec.layout)
        model.load_state_dict(artifact.weights)
        model.eval()
        return cls(model, codec, version.ref, version.manifest.content_digest, artifact.config)

    @property
    def schema(self) -> pa.Schema:
        """Columns of the sampled rows."""
        return self.codec.schema

    def sample(
        self,
        num_rows: int,
        *,
        seed: int,
        where: str | tuple[str, ...] = (),
        columns: list[str] | None = None,
        latent: Mapping[str, float] | None = None,
    ) -> pa.Table:
        """`num_rows` rows that meet every clause of `where`; equal to the first rows of an augment job with
        the same seed.

        `latent` fixes codes of models that have some (infogan: `c1`, `c2`, ...; `model.latent_names`).

        Raises:
            ConditionError: a clause can't be parsed, names no column or value, or is met too rarely; an
            unknown code.
        """
        if num_rows < 1:
            raise UserError(f"must be at least 1, got {num_rows}", field="num_rows")
        clauses = (where,) if isinstance(where, str) else tuple(where)
        codes = tuple(f"{name}={value!r}" for name, value in (latent or {}).items())
        wanted = tuple(columns) if columns is not None else None
        plan = ShardPlan(rows=num_rows, seed=seed, where=clauses, columns=wanted, latent=codes)
        self.check(plan)
        return pa.concat_tables([self.shard(plan, shard) for shard in plan.shards()])

    def between(self, *, seed: int, steps: int = 10, most_classes: int = 10) -> list[npt.NDArray[np.uint8]]:
        """Images along a walk between two noises, uint8 (steps, C, H, W) for each class; empty where a model
        has no such walk."""
        if not isinstance(self.model, ImageModel) or not self.model.noise_width:
            return []
        labels: list[int | None] = [*range(min(self.model.classes, most_classes))] or [None]
        rows = []
        with one_thread(), torch.inference_mode():
            for label in labels:
                draws = torch.Generator(self.model.label_share_K.device).manual_seed(
                    block_seed(seed, label or 0)
                )
                rows.append(to_uint8(self.model.between(steps, label=label, generator=draws).cpu()).numpy())
        return rows

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
        for name, room in self.codec.id_rooms() if isinstance(self.codec, TableCodec) else ():
            if plan.first_id + plan.rows > room and name in (plan.columns or names):
                kind = self.schema.field(name).type
                fix = "ask for fewer rows, leave the column out, or give it a wider type in the source"
                raise UserError(
                    f"identifiers {name!r} of type {kind} can number {room:,} rows; {fix}", field="--rows"
                )
        self._where(plan, None)
        self.told(plan, None)

    def told(self, plan: ShardPlan, native: Condition | None) -> Condition | None:
        """What the model is told for every row: `native`, with the plan's latent codes fixed.

        Raises:
            ConditionError: an unknown code, or one that is no number; a category that is not one.
        """
        if not plan.latent:
            return native
        codes = parse_latent(plan.latent, self.model.latent_names)
        if "category" in codes and codes["category"] not in range(self.model.config.categories):
            raise ConditionError(
                f"category is a whole number below {self.model.config.categories}", field="--latent"
            )
        return replace(native or Condition(), latent=codes)

    def shard(self, plan: ShardPlan, shard: Shard) -> pa.Table:
        """All rows of one shard, in their final order and columns.

        Raises:
            ConditionError: after `plan.max_tries_per_row` rows generated for each row wanted; states the
            acceptance rate.
        """
        with one_thread():
            if plan.quotas:
                batch = self._balanced(plan, shard)
            else:
                batch = self._rows(plan, shard, group=0, rows=shard.rows, where=self._where(plan, None))
            table = self.codec.decode(batch, first_row=plan.first_id + shard.first_row)
        return table.select(list(plan.columns)) if plan.columns is not None else table

    def _where(self, plan: ShardPlan, value: str | None) -> Where:
        balanced = [] if plan.balance is None or value is None else [Clause(plan.balance, "=", value)]
        where = Where.parse([*plan.where, *balanced])
        where.check(self.codec)
        return where

    def _balanced(self, plan: ShardPlan, shard: Shard) -> Batch:
        quotas = plan.shard_quotas(shard.index)
        groups = [
            self._rows(plan, shard, group=group, rows=quota.rows, where=self._where(plan, quota.value))
            for group, quota in enumerate(quotas)
            if quota.rows
        ]
        order = np.random.Generator(
            np.random.Philox(key=plan.seed & (2**64 - 1), counter=shard.index)
        ).permutation(shard.rows)
        return concat(groups).take(_index(order))

    def _rows(self, plan: ShardPlan, shard: Shard, *, group: int, rows: int, where: Where) -> Batch:
        """Blocks (seed, shard, group, 0), (.., 1), ... until `rows` rows meet the condition, in order."""
        if not where.clauses:
            blocks = [self._block(plan, shard, group, block, None) for block in range(-(-rows // BLOCK_ROWS))]
            return concat(blocks).take(slice(0, rows))
        kept: list[Batch] = []
        found = tried = 0
        native = where.native(self.codec) if self.model.conditions != "none" else None
        limit = max(LEAST_TRIES, rows * plan.max_tries_per_row)
        for chunk in self._chunks(plan, shard, group, rows, native):
            mask = where.mask(self.codec.conditions(chunk))
            kept.append(chunk.take(_index(np.flatnonzero(mask))))
            found += int(mask.sum())
            tried += chunk.num_rows
            if found >= rows:
                return concat(kept).take(slice(0, rows))
            if tried >= limit:
                break
        raise TooRareError(
            f"{where}: only {found:,} of {tried:,} generated rows met it ({found / tried:.4%}) where {rows:,}"
            " were wanted; relax the condition, or train on more rows that meet it",
            field="--where" if plan.where else "--balance",
        )

    def _chunks(
        self, plan: ShardPlan, shard: Shard, group: int, rows: int, native: Condition | None
    ) -> Iterator[Batch]:
        block, size = 0, min(CHUNK_BLOCKS, -(-rows // BLOCK_ROWS))
        while True:
            yield concat([self._block(plan, shard, group, block + i, native) for i in range(size)])
            block, size = block + size, min(CHUNK_BLOCKS, size * 2)

    def _block(
        self, plan: ShardPlan, shard: Shard, group: int, block: int, condition: Condition | None
    ) -> Batch:
        return sample_block(
            self.model, seed=plan.seed, path=(shard.index, group, block), condition=self.told(plan, condition)
        )


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


def _index(rows: npt.NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows))
