"""Ray tasks that write parts: each computes a whole shard, writes it and then its receipt.

Ray runs a task again when its worker or node is lost. A worker process caches the last model it loaded, so
a job's shards, and a second job on the same model, pay for loading once a process.
"""

import functools
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, WorkerCrashedError

from synthmill.catalog import partitions
from synthmill.catalog.dataset import finished_shards, part_path, write_file, write_receipt
from synthmill.catalog.manifest import FileEntry
from synthmill.catalog.provenance import SYNTHETIC_COLUMN, footer
from synthmill.catalog.store import Draft, Store
from synthmill.config import StorageConfig
from synthmill.data.columns import flat
from synthmill.errors import ResourceError, SynthmillError
from synthmill.generation.completing import complete
from synthmill.generation.compute import PORTABLE_ENV, compute_class
from synthmill.generation.continuing import Ahead, forecast, future_column, published
from synthmill.generation.generator import Generator
from synthmill.generation.shards import ShardPlan
from synthmill.runtime import cluster
from synthmill.runtime.output import Output
from synthmill.runtime.tasks import get, line_of
from synthmill.storage.folder import Folder

MAX_RETRIES = 5
LOST = (WorkerCrashedError, NodeDiedError, OutOfMemoryError)


@dataclass(frozen=True)
class Job:
    """What every part of one dataset shares; small enough to send with each task."""

    env: Mapping[str, str]
    store_uri: str
    storage: StorageConfig
    model_ref: str
    model_digest: str
    plan: ShardPlan
    mixed: bool
    output: Output = field(default_factory=Output)
    first_part: int = 0
    """Number of the file of part 0; above 0 where rows are appended."""


@dataclass(frozen=True)
class Part:
    """One part to write: a shard of the plan, or rows that are given."""

    index: int
    rows: pa.Table | None
    given: pa.Table | None = None
    """Of a shard that is completed or goes on: its rows."""


@dataclass(frozen=True)
class Done:
    """One part that was written, and by whom."""

    files: tuple[FileEntry, ...]
    worker: str
    """The machine and the process."""
    seconds: float
    generated: int | None = None
    """Rows that were drawn for it, those that were rejected among them; None: not known."""

    @property
    def rows(self) -> int:
        return sum(entry.rows or 0 for entry in self.files)


class Writers:
    """At most `count` parts at a time, each on one CPU with one thread."""

    def __init__(self, count: int, job: Job, *, portable: bool = False) -> None:
        self.count = count
        self._job = ray.put(job)
        # Spread: parts that pile up on one node share its memory and its connection to the store.
        options: dict[str, Any] = {"num_cpus": 1, "max_retries": MAX_RETRIES, "scheduling_strategy": "SPREAD"}
        if portable:
            # Torch reads them once, when it loads: new processes, not those that Ray keeps ready.
            options["runtime_env"] = {"env_vars": PORTABLE_ENV}
        self._write = ray.remote(**options)(write_part)
        self.compute_class: str = get([ray.remote(**options)(class_of).remote(self._job)])[0]
        """What the bytes are computed by; every part must be computed by the same."""

    def write_all(
        self, parts: Iterable[Part], draft: Draft, *, on_part: Callable[[Mapping[int, Done]], None]
    ) -> list[tuple[FileEntry, ...]]:
        """Write what has no valid receipt yet; the files of each part, in the order of `parts`, of which no
        more are taken at a time than are written.

        `on_part` gets all parts that are done, each time one is.

        Raises:
            SynthmillError: the workers of one part died again and again.
            ResourceError: a machine of another compute class joined in.
        """
        known = finished_shards(draft.folder, draft.run_key)
        done = {index: Done(files, "", 0.0) for index, files in known.items()}
        order: list[int] = []
        todo = iter(parts)
        running: dict[Any, int] = {}
        on_part(done)
        while True:
            while len(running) < self.count and (part := next(todo, None)) is not None:
                order.append(part.index)
                if part.index in known:
                    continue
                call = self._write.remote(self._job, part, draft.folder, draft.run_key, self.compute_class)
                running[call] = part.index
            if not running:
                return [done[index].files for index in order]
            ready, _ = ray.wait(list(running), num_returns=1)
            index = running.pop(ready[0])
            try:
                done[index] = get(ready)[0]
            except LOST as fault:
                raise SynthmillError(
                    f"part {index} lost its worker {MAX_RETRIES + 1} times: {line_of(fault)}"
                ) from fault
            on_part(done)
            # Another run may have taken this version over while this one waited.
            draft.check_alive()


def class_of(job: Job) -> str:
    """In a worker: its compute class."""
    return compute_class(_generator(job).sampler)


def write_part(job: Job, part: Part, folder: Folder, run_key: str, expected_class: str) -> Done:
    """In a worker: compute (or take) the rows, write the part's files, then its receipt."""
    started = time.monotonic()
    generator = _generator(job)
    own_class = compute_class(generator.sampler)
    if own_class != expected_class:
        # The same seed would give other rows in this part than a rerun elsewhere.
        raise ResourceError(
            f"the cluster's machines compute differently ({own_class} | {expected_class}); add --portable",
            field="--workers",
        )
    schema = dataset_schema(generator, job.plan, mixed=job.mixed)
    before = generator.sampler.generated
    table = _rows_of(generator, job.plan, part)
    # Models generate plain values; categories, numbers of classes and the like come back on the way out.
    form = generator.codec.form.select(job.plan.columns or generator.schema.names)
    ahead = job.plan.steps is not None
    written = published(generator.codec, table) if ahead else form.write(table.select(form.schema.names))
    if job.mixed:
        written = written.append_column(
            SYNTHETIC_COLUMN, pa.array([part.rows is None] * table.num_rows, pa.bool_())
        )
    described = {key.decode(): value.decode() for key, value in (form.schema.metadata or {}).items()}
    files = []
    for place, rows in _placed(written.cast(schema), job.output.partition_by):
        keys = described | footer(
            run_key=run_key,
            shard=part.index,
            model_ref=job.model_ref,
            model_digest=job.model_digest,
            seed=job.plan.seed,
            mixed=job.mixed or job.plan.given is not None,
            folder=place,
        )
        path = "/".join(filter(None, (place, part_path(job.first_part + part.index))))
        many = job.output.row_group_rows
        files.append(write_file(folder, path, [rows], rows.schema, footer=keys, row_group_rows=many))
    write_receipt(folder, part.index, files, run_key=run_key)
    generated = generator.sampler.generated - before
    return Done(tuple(files), f"{socket.gethostname()}:{os.getpid()}", time.monotonic() - started, generated)


def _rows_of(generator: Generator, plan: ShardPlan, part: Part) -> pa.Table:
    """The rows of a part: given, completed, drawn after given ones, or drawn."""
    if part.rows is not None:
        return part.rows
    shard = plan.shard(part.index)
    if part.given is None:
        return generator.shard(plan, shard)
    if plan.steps is not None:
        ahead = Ahead(steps=plan.steps, futures=plan.futures or 1, where=plan.where)
        seed, first = plan.seed, shard.first_row
        return forecast(generator, part.given, ahead, seed=seed, field="--given", first=first)
    first = plan.first_id + shard.first_row
    made = complete(generator, part.given, seed=plan.seed, field="--given", first_row=first, shard=part.index)
    # Known cells come in the types in which they were given, and go out in those of the model.
    columns = [flat(made[field.name]).cast(field.type) for field in generator.schema]
    return pa.table(columns, schema=generator.schema).select(list(plan.columns or generator.schema.names))


def _placed(rows: pa.Table, partition_by: tuple[str, ...]) -> Iterable[tuple[str, pa.Table]]:
    """Hive folders and what of a part's rows goes there."""
    return partitions.split(rows, partition_by) if partition_by else [("", rows)]


def dataset_schema(generator: Generator, plan: ShardPlan, *, mixed: bool) -> pa.Schema:
    """What every part of a dataset has, real rows included: the requested columns, and whether a row is
    synthetic where both kinds are there; or which future of its sequence a row is of."""
    schema = generator.codec.form.select(plan.columns or generator.schema.names).schema
    if (plan.futures or 1) > 1:
        schema = schema.append(pa.field(future_column(generator.codec), pa.int64()))
    return schema.append(pa.field(SYNTHETIC_COLUMN, pa.bool_())) if mixed else schema


def _generator(job: Job) -> Generator:
    cluster.adopt(job.env)
    return _load(job.store_uri, job.storage, job.model_ref, job.model_digest)


@functools.lru_cache(maxsize=1)
def _load(store_uri: str, storage: StorageConfig, ref: str, digest: str) -> Generator:
    generator = Generator.load(Store(store_uri, storage).resolve("models", ref, field="--model"))
    assert generator.digest == digest, f"{ref} changed while it was read"
    return generator
