"""A pool of Ray actors that write parts, survives lost actors and nodes, and trusts a part only with its receipt."""

import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import pyarrow as pa
import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError, WorkerCrashedError

from synthmill.catalog.manifest import FileEntry
from synthmill.catalog.provenance import footer
from synthmill.catalog.store import Draft, Store
from synthmill.config import FrozenModel, StorageConfig, parse_model
from synthmill.errors import ResourceError, SynthmillError
from synthmill.generation.compute import PORTABLE_ENV, compute_class
from synthmill.generation.generator import Generator
from synthmill.generation.shards import ShardPlan
from synthmill.runtime import cluster
from synthmill.storage.folder import Folder
from synthmill.storage.parquet import write_part

MAX_LOSSES_WITHOUT_PROGRESS = 5
SYNTHETIC_COLUMN = "is_synthetic"


class Receipt(FrozenModel):
    """Written after its part: a part without one, or of another size, is written again."""

    format: str = "synthmill.receipt/1"
    part: str
    rows: int
    bytes: int
    sha256: str
    run_key: str

    def entry(self) -> FileEntry:
        return FileEntry(path=self.part, rows=self.rows, bytes=self.bytes, sha256=self.sha256)


class Task(NamedTuple):
    """One part to write: a shard of the plan, or rows that are given."""

    index: int
    rows: pa.Table | None


def part_name(index: int) -> str:
    return f"part-{index:05d}.parquet"


def receipt_path(index: int) -> str:
    return f"_receipts/part-{index:05d}.json"


class ShardWriter:
    """The actor: one model in memory, one shard at a time, one thread."""

    def __init__(self, env: Mapping[str, str], store_uri: str, storage: StorageConfig, model_ref: str, plan: ShardPlan) -> None:
        cluster.adopt(env)
        self._plan = plan
        self._generator = Generator.load(Store(store_uri, storage).resolve("models", model_ref, field="--model"))

    def compute_class(self) -> str:
        return compute_class(self._generator.model)

    def write(self, index: int, rows: pa.Table | None, mixed: bool, folder: Folder, run_key: str, expected_class: str) -> Receipt:
        """Compute (or take) the rows, write the part, then its receipt."""
        if self.compute_class() != expected_class:
            raise ResourceError(f"a replacement worker computes differently ({self.compute_class()}); add --portable", field="--workers")
        table = self._generator.shard(self._plan, self._plan.shard(index)) if rows is None else rows
        if mixed:
            table = table.append_column(SYNTHETIC_COLUMN, pa.array([rows is None] * table.num_rows, pa.bool_()))
        keys = footer(
            model_ref=self._generator.ref,
            model_digest=self._generator.digest,
            run_key=run_key,
            seed=self._plan.seed,
            shard=index,
            synthetic=rows is None,
        )
        with tempfile.TemporaryDirectory(prefix="synthmill-") as scratch:
            local = Path(scratch) / part_name(index)
            info = write_part([table], table.schema, local, keys)
            folder.upload(local, part_name(index), sha256=info.sha256)
        receipt = Receipt(part=part_name(index), rows=info.rows, bytes=info.bytes, sha256=info.sha256, run_key=run_key)
        folder.write_json(receipt_path(index), receipt.model_dump(mode="json"))
        return receipt


class Writers:
    """`count` actors; use as a context manager."""

    def __init__(
        self, count: int, store_uri: str, storage: StorageConfig, model_ref: str, plan: ShardPlan, *, portable: bool = False
    ) -> None:
        self.count = count
        self._arguments = (cluster.environment(), store_uri, storage, model_ref, plan)
        env = {**(PORTABLE_ENV if portable else {}), "OMP_NUM_THREADS": "1"}
        self._actor = ray.remote(num_cpus=1, runtime_env={"env_vars": env})(ShardWriter)
        self._actors: list[Any] = []
        self._class: str | None = None

    def __enter__(self) -> "Writers":
        self._actors = [self._start() for _ in range(self.count)]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for actor in self._actors:
            ray.kill(actor)

    def _start(self) -> Any:
        return self._actor.remote(*self._arguments)

    def compute_class(self) -> str:
        """The class that every actor shares; a job never mixes classes."""
        if self._class is None:
            classes = sorted(set(_get([actor.compute_class.remote() for actor in self._actors])))
            if len(classes) > 1:
                raise ResourceError(f"the cluster's machines compute differently ({' | '.join(classes)}); add --portable", field="--workers")
            self._class = classes[0]
        return self._class

    def write_all(self, tasks: list[Task], draft: Draft, *, on_part: Callable[[int], None]) -> list[Receipt]:
        """Write what has no valid receipt yet; receipts in the order of `tasks`.

        Raises:
            SynthmillError: actors died five times in a row without a part being finished.
        """
        mixed = any(task.rows is not None for task in tasks)
        done = finished_parts(draft.folder, draft.run_key)
        todo = deque(task for task in tasks if task.index not in done)
        idle, running, losses = deque(range(len(self._actors))), {}, 0
        on_part(len(done))
        while todo or running:
            while todo and idle:
                slot, task = idle.popleft(), todo.popleft()
                call = self._actors[slot].write.remote(task.index, task.rows, mixed, draft.folder, draft.run_key, self.compute_class())
                running[call] = (slot, task)
            ready, _ = ray.wait(list(running), num_returns=1)
            slot, task = running.pop(ready[0])
            idle.append(slot)
            try:
                done[task.index] = _get(ready)[0]
                losses = 0
                on_part(len(done))
            except (RayActorError, WorkerCrashedError) as fault:
                losses += 1
                if losses > MAX_LOSSES_WITHOUT_PROGRESS:
                    raise SynthmillError(f"{losses} workers were lost in a row without finishing a part: {_line(fault)}") from fault
                todo.appendleft(task)
                self._actors[slot] = self._start()
            draft.check_alive()
        return [done[task.index] for task in tasks]


def finished_parts(folder: Folder, run_key: str) -> dict[int, Receipt]:
    """Receipts of this run key whose part is there with the size they state."""
    entries = {entry.path: entry.bytes for entry in folder.list()}
    found = {}
    for path in entries:
        if path.startswith("_receipts/"):
            receipt = parse_model(Receipt, folder.read_json(path))
            if receipt.run_key == run_key and entries.get(receipt.part) == receipt.bytes:
                found[int(receipt.part.removeprefix("part-").removesuffix(".parquet"))] = receipt
    return found


def _get(calls: list[Any]) -> list[Any]:
    """Results; an error that a worker raised on purpose comes out as itself."""
    try:
        return list(ray.get(calls))
    except RayTaskError as fault:
        cause = fault.cause
        if isinstance(cause, SynthmillError):
            raise cause from None
        raise


def _line(fault: BaseException) -> str:
    return str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
