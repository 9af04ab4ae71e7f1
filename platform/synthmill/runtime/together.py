"""Several workers of one run under Ray Train: as many as there is room for, through losses and gains.

Ray starts all of them again when one is lost, with those that are left where the recipe states a range. It
would take in new ones by ending the others wherever they are; here they are told to write a checkpoint first,
and a new group goes on from it, so that no step is repeated. A person is told of each change.
"""

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray._private.state import state as cluster_state
from ray.exceptions import RayError
from ray.util import placement_group_table

from synthmill.config import TrainingConfig
from synthmill.errors import TrainingError
from synthmill.runtime import autoscaling, cluster
from synthmill.runtime.progress import Progress
from synthmill.runtime.roster import Attempt, start_roster
from synthmill.runtime.shape import Shape
from synthmill.runtime.tasks import last_line
from synthmill.runtime.worker import Left, Together, Work, train_together

LOOK_SECONDS = 1.0
RESIZE_SECONDS = 60.0
"""Time that a group trains at least before another takes its place: a change costs a start of processes."""
START_SECONDS = "5"
"""After which Ray counts again for how many workers there is room, where their number may vary: it learns of
a lost machine late, and waits for it until then."""
DRAIN_SAVE_SECONDS = 10.0
"""Between two checkpoints while a machine of the cluster is about to be taken away."""
PATIENCE_SECONDS = 10.0
ORDINALS = ("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def train_group(work: Work, shape: Shape, training: TrainingConfig, bar: Progress) -> Any:
    """The run's summary, or an error of ours as a value.

    Raises:
        TrainingError: the workers were lost too often.
    """
    roster = start_roster()
    work = replace(work, roster=roster)
    overseer = Overseer(roster, shape, training.resize_seconds or RESIZE_SECONDS, bar)
    growing = shape.elastic and autoscaling.find() is not None
    with overseer, _counting_anew(shape.elastic):
        while True:
            # Ray Train asks a cluster that grows for all of them. Elsewhere a group is as large as there is
            # room: Ray itself counts what others use as free.
            most = shape.workers if growing else max(shape.least, min(shape.workers, overseer.room))
            left = training.max_failures - overseer.losses
            result = _one_group(work, (shape.least, most), shape.resources, max(0, left))
            if not isinstance(result, Left):
                return result
            overseer.group_left()


def together(
    work_with: Callable[[Any], Together],
    *,
    workers: int,
    resources: Mapping[str, float],
    max_failures: int,
) -> Any:
    """A fixed number of workers that nobody watches; what rank 0 returned.

    `work_with` makes their work, given the handle of a `Roster`. `resources` are those of one worker.

    Raises:
        SynthmillError: what a worker raised on purpose, or TrainingError for workers that were lost.
    """
    return _one_group(work_with(start_roster()), (workers, workers), resources, max_failures)


def _one_group(
    work: Together, workers: tuple[int, int], resources: Mapping[str, float], max_failures: int
) -> Any:
    """One call of Ray Train, of at least and at most so many workers: it ends with the run, or when they have
    made room for more."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    least, most = workers
    with tempfile.TemporaryDirectory(prefix="synthmill-ray-") as scratch:
        trainer = TorchTrainer(
            train_together,
            train_loop_config={"work": work},
            scaling_config=ScalingConfig(
                num_workers=workers if most > least else most,
                use_gpu="GPU" in resources,
                resources_per_worker=dict(resources),
                # Never by itself: it would not wait for a checkpoint.
                elastic_resize_monitor_interval_s=1e9,
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
            raise ray.get(work.roster.fault.remote()) or TrainingError(last_line(fault)) from fault


@contextmanager
def _counting_anew(elastic: bool) -> Iterator[None]:
    """Ray Train's controller reads how long it waits from the environment."""
    name = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
    if not elastic or name in os.environ:
        yield
        return
    os.environ[name] = START_SECONDS
    try:
        yield
    finally:
        del os.environ[name]


class Overseer:
    """Watches machines and workers in a thread: says what changed, orders checkpoints, makes room."""

    def __init__(self, roster: Any, shape: Shape, resize_seconds: float, bar: Progress) -> None:
        self._roster, self._shape, self._bar = roster, shape, bar
        self._resize_seconds = resize_seconds
        self._machines = _machines()
        self._known: list[Attempt] = []
        self._node_lost = self._waits = self._leaving = False
        self._saved = -DRAIN_SAVE_SECONDS
        self._began = time.monotonic()
        self.room = cluster.free_room(shape.resources)
        """How many workers fit in the group that is started next."""
        self.losses = 0
        """Groups that ended without having made room."""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Overseer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def group_left(self) -> None:
        """The workers have made room, and the next ones are about to be started."""
        # Ray counts machines every 20 seconds only.
        _count_again()
        self._began, self._waits = time.monotonic(), False

    def _watch(self) -> None:
        while not self._done.wait(LOOK_SECONDS):
            # Ray may be too busy to answer; that is no reason to end a run.
            with contextlib.suppress(RayError, RuntimeError):
                self._look()

    def _look(self) -> None:
        machines = _machines()
        if machines != self._machines:
            lost, self._machines = self._machines - machines, machines
            if lost and self._known:
                self._node_lost = True
                self._say_if_too_few()
            if self._shape.elastic:
                _count_again()
        attempts = ray.get(self._roster.attempts.remote())
        for attempt in attempts[len(self._known) :]:
            self._say_began(attempts[len(self._known) - 1] if self._known else None, attempt)
            self._known.append(attempt)
            self._leaving = self._node_lost = False
        if not attempts:
            self._say_if_waiting()
            return
        if cluster_state.get_draining_nodes() and time.monotonic() - self._saved >= DRAIN_SAVE_SECONDS:
            # Ray Train lets the workers go on until the machine is gone.
            self._saved = time.monotonic()
            ray.get(self._roster.save.remote())
            self._bar.say("a machine is about to be taken away: a checkpoint is written")
        self._make_room(attempts[-1])

    def _say_began(self, before: Attempt | None, now: Attempt) -> None:
        if before is None:
            if self._shape.elastic:
                self._bar.say(f"training with {now.workers} of at most {self._shape.workers} workers")
            return
        if before.left_at is not None:
            more = now.workers - before.workers
            if more == 1 and now.workers < len(ORDINALS):
                self._bar.say(f"a {ORDINALS[now.workers]} worker joined at step {before.left_at}")
            else:
                self._bar.say(f"{more} workers joined at step {before.left_at}: {now.workers} train now")
            return
        self.losses += 1
        what = "a node" if self._node_lost else "a worker"
        of = f" of {before.workers}" if now.workers < before.workers else ""
        self._bar.say(f"{what} was lost: going on with {now.workers}{of} workers")

    def _say_if_too_few(self) -> None:
        room, shape = cluster.room(self._shape.resources), self._shape
        if room < shape.least:
            self._bar.say(
                f"a node was lost: waiting for room for {shape.least} workers of {shape.needs}: {room} of"
                f" {shape.least} there"
            )

    def _say_if_waiting(self) -> None:
        if self._waits or time.monotonic() - self._began < PATIENCE_SECONDS:
            return
        if any(group["state"] == "PENDING" for group in placement_group_table().values()):
            self._waits = True
            shape = self._shape
            self._bar.say(
                f"waiting for {shape.least} processes with {shape.needs}: Ray starts them when that much is"
                " free"
            )

    def _make_room(self, now: Attempt) -> None:
        """Order the workers to leave when more would fit."""
        if self._leaving or now.left_at is not None or now.workers >= self._shape.workers:
            return
        if time.time() - now.began < self._resize_seconds:
            return
        if more := cluster.free_room(self._shape.resources):
            # Counted before they leave: what they used is free a while later only.
            self.room, self._leaving = now.workers + more, True
            ray.get(self._roster.leave.remote())


def _machines() -> frozenset[str]:
    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])


def _count_again() -> None:
    """Have the actor that Ray Train asks for room look at the machines now."""
    from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import (
        get_or_create_autoscaling_coordinator,
    )

    coordinator = get_or_create_autoscaling_coordinator()
    ray.get(coordinator.get_reserved_resources.remote("synthmill", recompute=True))
