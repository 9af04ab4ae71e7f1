"""The middle step of a training job: workers run the loop until it ends, however often they are lost.

One worker is a plain Ray actor: Ray Train's controller and its helpers take 16 s until the first step, this
takes what a process needs to import torch. Several workers are Ray Train's.
"""

import threading
import time
from typing import Any

import ray
import safetensors.torch
from ray.exceptions import RayError, RayTaskError

from synthmill.config import TrainingConfig, dump
from synthmill.errors import SynthmillError, TrainingError, UserError
from synthmill.runtime import cluster
from synthmill.runtime.encode import encode_rows
from synthmill.runtime.history import follow
from synthmill.runtime.prepare import Prepared, checkpoints_in
from synthmill.runtime.progress import Progress, say
from synthmill.runtime.shape import Shape
from synthmill.runtime.tasks import last_line, line_of
from synthmill.runtime.together import train_group
from synthmill.runtime.worker import OUTCOME, TrainingWorker, Work
from synthmill.storage.folder import Folder
from synthmill.training.artifact import Fitted
from synthmill.training.checkpoint import Checkpoints

PATIENCE_SECONDS = 10.0
"""After which a line says that a worker still waits for free resources."""

FREED_SECONDS = 5.0


class Crew:
    """The workers of one run. They may start before the data is read."""

    def __init__(self, training: TrainingConfig) -> None:
        """Raises ResourceError for what the cluster can't hold."""
        least, most = training.least_workers, training.most_workers
        gpus = ray.cluster_resources().get("GPU", 0)
        gpu = training.device == "cuda" or (training.device == "auto" and gpus >= least)
        most = _require(training, gpu=gpu)
        cpus = training.threads or cluster.cpus_each(most)
        self.shape = Shape(most, cpus, gpu, least)
        self._first = self._start() if most == 1 else None

    def take_first(self) -> Any:
        """The worker that was started early, or a new one."""
        worker, self._first = self._first or self._start(), None
        return worker

    def dismiss_first(self) -> None:
        """Give back the CPUs of the worker that was started early."""
        if self._first is None:
            return
        ray.kill(self._first)
        self._first = None
        until = time.monotonic() + FREED_SECONDS
        # The process is gone at once, and some moments later the cluster knows.
        while not cluster.free_room({"CPU": self.shape.cpus}) and time.monotonic() < until:
            time.sleep(0.1)

    def _start(self) -> Any:
        cls = ray.remote(num_cpus=self.shape.cpus, num_gpus=1 if self.shape.gpu else 0)(TrainingWorker)
        return cls.remote()


def _require(training: TrainingConfig, *, gpu: bool) -> int:
    """Refuse what the cluster can't hold, wait for what it grows to; the most workers that there can be."""
    least, most = training.least_workers, training.most_workers
    asks: list[dict[str, Any]] = [{"field": "training.workers"}]
    if gpu:
        asks.append({"gpus": 1, "field": "training.device"})
    if training.threads is not None and training.threads > 1:
        asks.append({"cpus": training.threads, "gpus": 1 if gpu else 0, "field": "training.threads"})
    if not cluster.grows(most, asks[-1]):
        # From the coarsest to the finest, so that the message names the field that is at fault.
        for ask in asks:
            cluster.require(workers=least, **ask)
        return most
    if training.device == "auto" and not gpu:
        say("no machine has a GPU now: training on CPUs; training.device=cuda asks for machines with one")
    # Machines are started for the whole at once, not for one part after the other.
    possible = cluster.require_range(least, most, **asks[-1])
    if possible < most:
        say(f"the cluster can grow to {possible} such workers, not to {most}")
    return possible


def fit(prepared: Prepared, run: Folder, crew: Crew) -> Fitted:
    """Train in the run's folder, from its checkpoints where `training.resume` says so.

    Raises:
        TrainingError: the run diverged, or lost its workers too often; checkpoints stay for the next attempt.
    """
    # Before checkpoints are touched: more workers than rows are a mistake of the recipe.
    steps = prepared.steps
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
    with Progress("training", steps) as bar:
        watcher = threading.Thread(target=follow, args=(run, bar, done), daemon=True)
        watcher.start()
        try:
            training = prepared.recipe.training
            if crew.shape.workers == 1:
                result = _alone(work, crew, training.max_failures)
            else:
                result = train_group(work, crew.shape, training, bar)
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
                say(f"waiting for a process with {crew.shape.needs}: Ray starts one when that much is free")
            return ray.get(worker.fit.remote(work))
        except RayTaskError as fault:
            # A fault of ours, not a lost process: it would come again.
            raise TrainingError(last_line(fault)) from fault
        except RayError as fault:
            if lost == max_failures:
                raise TrainingError(f"training workers failed: {line_of(fault)}") from fault
            say(f"the training worker was lost; another one resumes ({lost + 1} of {max_failures} times)")
        finally:
            # What comes next in this session needs its CPUs now, not when the handle is collected.
            ray.kill(worker)
    raise AssertionError("unreachable: the last loss raises")
