"""What one training process does, whether Ray started it alone or as one of several."""

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import ray
import safetensors.torch
import torch

from synthmill.config import Recipe, parse_model
from synthmill.data.codecs.base import codec_from_files
from synthmill.data.scratch import opened_shards
from synthmill.data.shards import ShardIndex
from synthmill.errors import SynthmillError
from synthmill.runtime import cluster
from synthmill.runtime.encode import shards_in
from synthmill.runtime.history import FolderReporter, PreviewFolder, TensorBoardFolder
from synthmill.runtime.prepare import checkpoints_in
from synthmill.runtime.roster import Listener
from synthmill.storage.folder import Folder
from synthmill.training.artifact import fitted
from synthmill.training.checkpoint import Checkpoints
from synthmill.training.fit import fit
from synthmill.training.parallel import AllReduce, Parallel, Single
from synthmill.training.reporter import Fanout, Reporter, Silent
from synthmill.training.run_state import LeavingError, Orders
from synthmill.training.tracker_process import FAILED, FINISHED
from synthmill.training.trackers import Trackers

OUTCOME = "outcome.safetensors"
"""The weights, in the run's folder."""


class Together(Protocol):
    """Work that several processes do together."""

    @property
    def environment(self) -> Any:
        """Reference to `cluster.environment()`."""

    @property
    def roster(self) -> Any:
        """Handle of a `Roster`."""

    def run(self, parallel: Parallel, orders: Orders | None = None) -> dict[str, Any]:
        """What one of them does; rank 0's answer counts."""


@dataclass(frozen=True)
class Work:
    """What a process needs. Large or secret parts are references: Ray shows arguments on its dashboard."""

    recipe: Mapping[str, Any]
    folder: Folder
    codec: tuple[dict[str, Any], dict[str, torch.Tensor]]
    environment: Any
    """Reference to `cluster.environment()`."""
    tables: Any
    """Reference to the train and the validation rows; to samples of them where there are shards."""
    shards: ShardIndex | None = None
    """Of all training rows, encoded, in the run's folder; None: they are the tables."""
    roster: Any = None
    """Handle of a `Roster`; None for a process that trains alone."""

    def run(self, parallel: Parallel, orders: Orders | None = None) -> dict[str, Any]:
        """Train, and leave the weights in the run's folder; the summary and the history come back."""
        train_rows, validation = ray.get(self.tables)
        live, events = FolderReporter(self.folder), TensorBoardFolder(self.folder)
        leads = parallel.rank == 0
        reporter: Reporter = Silent()
        if leads:
            # What is wrong with a tracker is a message of the run, as nobody reads what a worker prints.
            trackers = Trackers(lambda line: live.log({"message": line}))
            tracked = trackers.run(self.recipe["name"], self.folder.uri, self.recipe)
            # One process writes: the records of all ranks are the same.
            reporter = Fanout(live, events, PreviewFolder(self.folder), tracked)
        on_disk = opened_shards(shards_in(self.folder), self.shards) if self.shards else nullcontext()
        try:
            with on_disk as shards:
                outcome = fit(
                    parse_model(Recipe, self.recipe),
                    train_rows,
                    validation,
                    codec_from_files(*self.codec),
                    parallel=parallel,
                    reporter=reporter,
                    checkpoints=Checkpoints(checkpoints_in(self.folder)),
                    orders=orders,
                    most_threads=cluster.threads_here(),
                    shards=shards,
                )
        except BaseException as fault:
            if leads:
                # Workers that make room for a larger group have not failed.
                tracked.end(FINISHED if isinstance(fault, LeavingError) else FAILED)
                trackers.close()
            raise
        if leads:
            tracked.end(FINISHED)
            trackers.close()
            live.close()
            events.close()
            # Not through Ray's object store: weights may be larger than it.
            self.folder.write_bytes(OUTCOME, safetensors.torch.save(outcome.state_dict))
        model = fitted(outcome, workers=parallel.world)
        return {"summary": model.summary, "history": model.history}


class TrainingWorker:
    """A process that trains alone. Making one costs seconds of imports, which pass while the driver still
    reads the source."""

    def ready(self) -> None:
        """Answers once the process runs."""

    def fit(self, work: Work) -> Any:
        """The run's summary, with its history; or an error of ours, as a value so that Ray does not wrap
        it."""
        # Before anything reads the store: credentials travel beside the job, not in it.
        cluster.adopt(ray.get(work.environment))
        device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
        try:
            return work.run(Single(device))
        except SynthmillError as fault:
            return fault


@dataclass(frozen=True)
class Left:
    """What workers return that make room for another group."""

    step: int


def train_together(options: Mapping[str, Any]) -> Any:
    """One of several workers of Ray Train.

    Its errors can't be returned: the other workers would wait for it in the next sum for ever. It leaves them
    with the `Roster` and raises; Ray then starts all workers again, which return that error at once.
    """
    from ray.train.torch import get_device

    work: Together = options["work"]
    cluster.adopt(ray.get(work.environment))
    ended = ray.get(work.roster.fault.remote())
    if ended is not None:
        return ended
    parallel = AllReduce(get_device())
    try:
        if parallel.rank:
            return work.run(parallel)
        ray.get(work.roster.join.remote(parallel.world, time.time()))
        with Listener(work.roster) as orders:
            return work.run(parallel, orders)
    except LeavingError as left:
        if parallel.rank == 0:
            ray.get(work.roster.left.remote(left.step))
        return Left(left.step)
    except SynthmillError as fault:
        ray.get(work.roster.keep.remote(fault))
        raise
