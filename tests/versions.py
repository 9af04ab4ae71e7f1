"""Small published versions for tests of what reads them."""

import uuid
from collections.abc import Sequence

import pyarrow as pa
import torch

from synthmill.catalog.artifact import Artifact, write_artifact
from synthmill.catalog.dataset import write_shard
from synthmill.catalog.manifest import Parent
from synthmill.catalog.provenance import footer, labels
from synthmill.catalog.store import Draft, Store, Version

TABLE = pa.table({"age": pa.array([1, 2, None, 4], pa.int64()), "income": ["<=50K", ">50K", "<=50K", None]})


def draft_of(store: Store, name: str, *, run_key: str = "key", kind: str = "datasets") -> Draft:
    return store.begin(kind, name, run_key=run_key, run_id=uuid.uuid4().hex)


def publish_dataset(
    store: Store, name: str, *, run_key: str = "key", parents: Sequence[Parent] = (), table: pa.Table = TABLE
) -> Version:
    """`table` in two parts; the second has its first row alone."""
    with draft_of(store, name, run_key=run_key) as draft:
        made_by = {"run_key": run_key, "model_ref": "m@1", "model_digest": "d", "seed": 7}
        files = tuple(
            write_shard(
                draft.folder,
                shard,
                [rows],
                table.schema,
                footer=footer(shard=shard, **made_by),
                run_key=run_key,
            )
            for shard, rows in enumerate([table, table.slice(0, 1)])
        )
        manifest = draft.manifest(
            files=files, schema=table.schema, parents=tuple(parents), labels=labels(run_key=run_key), seed=7
        )
        return draft.commit(manifest)


ARTIFACT = Artifact(
    config={"model": "tvae", "model_config": {"latent": 2}},
    weights={"b.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(3, dtype=torch.bfloat16)},
    codec={"format": "synthmill.codec/1", "columns": []},
    codec_tensors={"edges": torch.zeros(2, dtype=torch.int64)},
    history=[{"step": 1, "loss": 0.5}, {"step": 2, "loss": float("nan")}],
    card="# A card\n",
)


def publish_model(
    store: Store, name: str, *, run_key: str = "key", parents: Sequence[Parent] = ()
) -> Version:
    """`ARTIFACT` as a version."""
    with draft_of(store, name, run_key=run_key, kind="models") as draft:
        return draft.commit(
            draft.manifest(files=write_artifact(draft.folder, ARTIFACT), parents=tuple(parents))
        )


def parent_of(version: Version) -> Parent:
    return Parent(
        kind=version.kind.removesuffix("s"), ref=version.ref, digest=version.manifest.content_digest
    )
