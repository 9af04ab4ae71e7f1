"""The middle step of a training job: workers run the loop until it ends, however often they are lost.

One worker is a plain Ray actor: Ray Train's controller and its helpers take 16 s until the first step, this
takes what a process needs to import torch. Several workers are Ray Train's.
"""

import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import safetensors.torch
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from synthmill.config import TrainingConfig, dump
from synthmill.errors import SynthmillError, TrainingError, UserError
from synthmill.runtime import cluster
from synthmill.runtime.encode import encode_rows
from synthmill.runtime.history import follow
from synthmill.runtime.prepare import Prepared, checkpoints_in
from synthmill.runtime.progress import Progress, say
from synthmill.runtime.tasks import line_of
from synthmill.runtime.worker import OUTCOME, Ending, Together, TrainingWorker, Work, train_together
from synthmill.storage.folder import Folder
from synthmill.training.artifact import Fitted
from synthmill.training.checkpoint import Checkpoints

PATIENCE_SECONDS = 10.0
"""After which a line says that a worker still waits for free resources."""


@dataclass(frozen=True)
class Shape:
    """Which processes a run asks Ray for."""

    workers: int
    cpus: int
    gpu: bool

    @property
    def resources(self) -> dict[str, float]:
        """Of one worker, as Ray names them."""
        return {"CPU": self.cpus, **({"GPU": 1} if self.gpu else {})}


class Crew:
    """The workers of one run. They may start before the data is read."""

    def __init__(self, training: TrainingConfig) -> None:
        """Raises ResourceError for what the cluster can't hold."""
        gpus = ray.cluster_resources().get("GPU", 0)
        gpu = training.device == "cuda" or (training.device == "auto" and gpus >= training.workers)
        # From the coarsest to the finest, so that the message names the field that is at fault.
        cluster.require(workers=training.workers, field="training.workers")
        if gpu:
            cluster.require(workers=training.workers, gpus=1, field="training.device")
        if training.threads is not None:
            cluster.require(
                workers=training.workers,
                cpus=training.threads,
                gpus=1 if gpu else 0,
                field="training.threads",
            )
        cpus = training.threads or cluster.cpus_each(training.workers)
        self.shape = Shape(training.workers, cpus, gpu)
        self._first = self._start() if self.shape.workers == 1 else None

    def take_first(self) -> Any:
        """The worker that was started early, or a new one."""
        worker, self._first = self._first or self._start(), None
        return worker

    def _start(self) -> Any:
        cls = ray.remote(num_cpus=self.shape.cpus, num_gpus=1 if self.shape.gpu else 0)(TrainingWorker)
        return cls.remote()


def fit(prepared: Prepared, run: Folder, crew: Crew) -> Fitted:
    """Train in the run's folder, from its checkpoints where `training.resume` says so.

    Raises:
        TrainingError: the run diverged, or lost its workers too often; checkpoints stay for the next attempt.
    """
    resume, checkpoints = prepared.recipe.training.resume, checkpoints_in(run)
    exist = Checkpoints(checkpoints).exist()
    if resume == "never":
        checkpoints.delete_tree()
    elif resume == "always" and not exist:
        raise UserError(
            "there is no checkpoint of this recipe to resume from; use if-possible", field="training.resume"
        )
    elif exist:
        say(f"resuming from the last checkpoint in {run.uri}")
    shards = encode_rows(prepared, run)
    work = Work(
        recipe=dump(prepared.recipe),
        folder=run,
        codec=prepared.rows.codec.to_files(),
        environment=ray.put(cluster.environment()),
        tables=ray.put((prepared.rows.tables.train, prepared.rows.tables.validation)),
        shards=shards,
    )
    # Workers write their records into the run's folder: Ray hands on metrics only with checkpoints.
    done = threading.Event()
    with Progress("training", prepared.steps) as bar:
        watcher = threading.Thread(target=follow, args=(run, bar, done), daemon=True)
        watcher.start()
        try:
            failures = prepared.recipe.training.max_failures
            if crew.shape.workers == 1:
                result = _alone(work, crew, failures)
            else:
                result = together(
                    lambda ending: replace(work, ending=ending),
                    workers=crew.shape.workers,
                    resources=crew.shape.resources,
                    max_failures=failures,
                )
        finally:
            done.set()
            watcher.join()
    if isinstance(result, SynthmillError):
        raise result
    assert isinstance(result, dict), f"a worker returned {type(result).__name__}"
    weights = safetensors.torch.load(run.read_bytes(OUTCOME))
    return Fitted(weights, result["history"], result["summary"])


def _alone(work: Work, crew: Crew, max_failures: int) -> Any:
    """One worker; another replaces it when it is lost, and resumes from the last checkpoint."""
    for lost in range(max_failures + 1):
        worker = crew.take_first()
        try:
            ready = worker.ready.remote()
            if not ray.wait([ready], timeout=PATIENCE_SECONDS)[0]:
                needs = " and ".join(f"{amount:g} {name}s" for name, amount in crew.shape.resources.items())
                say(f"waiting for a process with {needs}: Ray starts one when that much is free")
            return ray.get(worker.fit.remote(work))
        except RayTaskError as fault:
            # A fault of ours, not a lost process: it would come again.
            raise TrainingError(_last_line(fault)) from fault
        except RayError as fault:
            if lost == max_failures:
                raise TrainingError(f"training workers failed: {line_of(fault)}") from fault
            say(f"the training worker was lost; another one resumes ({lost + 1} of {max_failures} times)")
        finally:
            # What comes next in this session needs its CPUs now, not when the handle is collected.
            ray.kill(worker)
    raise AssertionError("unreachable: the last loss raises")


def together(
    work_with: Callable[[Any], Together],
    *,
    workers: int,
    resources: Mapping[str, float],
    max_failures: int,
) -> Any:
    """Several workers under Ray Train, which starts all of them again when one is lost; what rank 0 returned.

    `work_with` makes their work, given the handle of an `Ending`. `resources` are those of one worker.

    Raises:
        SynthmillError: what a worker raised on purpose, or TrainingError for workers that were lost.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    # On the machine of this process: it is lost only with what waits for it, not with a worker's node.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    ending = ray.remote(num_cpus=0, scheduling_strategy=here)(Ending).remote()
    with tempfile.TemporaryDirectory(prefix="synthmill-ray-") as scratch:
        trainer = TorchTrainer(
            train_together,
            train_loop_config={"work": work_with(ending)},
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu="GPU" in resources, resources_per_worker=dict(resources)
            ),
            # Checkpoints are ours (encrypted as the recipe says, retried). Ray gets none, and needs no more
            # than a scratch folder.
            run_config=RunConfig(
                name=f"ray-{Path(scratch).name}",
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=max_failures),
            ),
        )
        try:
            return trainer.fit().return_value
        except (TrainingFailedError, RayError) as fault:
            raise ray.get(ending.fault.remote()) or TrainingError(_last_line(fault)) from fault


def _last_line(fault: BaseException) -> str:
    """What went wrong in a worker, without its stack: the last line of the innermost report."""
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return f"training workers failed: {lines[-1] if lines else type(fault).__name__}"
