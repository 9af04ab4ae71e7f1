"""A pool of Ray actors that write parts, survives lost actors and nodes, and trusts a part only with its receipt."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayActorError, WorkerCrashedError

from synthmill.catalog.dataset import finished_shards, write_shard
from synthmill.catalog.manifest import FileEntry
from synthmill.catalog.provenance import footer
from synthmill.catalog.store import Draft, Store
from synthmill.config import StorageConfig
from synthmill.errors import ResourceError, SynthmillError
from synthmill.generation.compute import PORTABLE_ENV, compute_class
from synthmill.generation.generator import Generator
from synthmill.generation.shards import ShardPlan
from synthmill.runtime import cluster
from synthmill.runtime.evaluate import SYNTHETIC_COLUMN
from synthmill.runtime.tasks import get, line_of
from synthmill.storage.folder import Folder

MAX_LOSSES_WITHOUT_PROGRESS = 5


@dataclass(frozen=True)
class Task:
    """One part to write: a shard of the plan, or rows that are given."""

    index: int
    rows: pa.Table | None


class ShardWriter:
    """The actor: one model in memory, one shard at a time, one thread."""

    def __init__(self, env: Mapping[str, str], store_uri: str, storage: StorageConfig, model_ref: str, plan: ShardPlan) -> None:
        cluster.adopt(env)
        self._plan = plan
        self._generator = Generator.load(Store(store_uri, storage).resolve("models", model_ref, field="--model"))

    def compute_class(self) -> str:
        return compute_class(self._generator.model)

    def write(self, task: Task, mixed: bool, folder: Folder, run_key: str, expected_class: str) -> FileEntry:
        """Compute (or take) the rows, write the part, then its receipt."""
        if self.compute_class() != expected_class:
            raise ResourceError(f"a replacement worker computes differently ({self.compute_class()}); add --portable", field="--workers")
        table = self._generator.shard(self._plan, self._plan.shard(task.index)) if task.rows is None else task.rows
        if mixed:
            table = table.append_column(SYNTHETIC_COLUMN, pa.array([task.rows is None] * table.num_rows, pa.bool_()))
        keys = footer(
            run_key=run_key,
            shard=task.index,
            model_ref=self._generator.ref,
            model_digest=self._generator.digest,
            seed=self._plan.seed,
            mixed=mixed,
        )
        return write_shard(folder, task.index, [table], table.schema, footer=keys, run_key=run_key)


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
            classes = sorted(set(get([actor.compute_class.remote() for actor in self._actors])))
            if len(classes) > 1:
                raise ResourceError(
                    f"the cluster's machines compute differently ({' | '.join(classes)}); add --portable", field="--workers"
                )
            self._class = classes[0]
        return self._class

    def write_all(self, tasks: list[Task], draft: Draft, *, on_part: Callable[[int], None]) -> list[FileEntry]:
        """Write what has no valid receipt yet; the parts, in the order of `tasks`.

        Raises:
            SynthmillError: actors died five times in a row without a part being finished.
        """
        mixed = any(task.rows is not None for task in tasks)
        done = finished_shards(draft.folder, draft.run_key)
        todo = deque(task for task in tasks if task.index not in done)
        idle, losses = deque(range(len(self._actors))), 0
        running: dict[Any, tuple[int, Task]] = {}
        on_part(len(done))
        while todo or running:
            while todo and idle:
                slot, task = idle.popleft(), todo.popleft()
                call = self._actors[slot].write.remote(task, mixed, draft.folder, draft.run_key, self.compute_class())
                running[call] = (slot, task)
            ready, _ = ray.wait(list(running), num_returns=1)
            slot, task = running.pop(ready[0])
            idle.append(slot)
            try:
                done[task.index] = get(ready)[0]
                losses = 0
                on_part(len(done))
            except (RayActorError, WorkerCrashedError) as fault:
                losses += 1
                if losses > MAX_LOSSES_WITHOUT_PROGRESS:
                    raise SynthmillError(f"{losses} workers were lost in a row without finishing a part: {line_of(fault)}") from fault
                todo.appendleft(task)
                self._actors[slot] = self._start()
            draft.check_alive()
        return [done[task.index] for task in tasks]
