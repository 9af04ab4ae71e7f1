"""Ray Tune around a `Search`: who asks for the next configuration, and who hears what came of one.

Everything that decides is in `tuning/search.py`; what stands here only passes it on. Ray's own searchers and
schedulers keep state that a killed driver loses, and can't be told of constraints or of conditional spaces
that were seen before.
"""

import contextlib
import json
import logging
import os
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from synthmill.config import TrainingConfig, TuneConfig
from synthmill.runtime import cluster
from synthmill.runtime.progress import say
from synthmill.runtime.trial import Shared, run_trial
from synthmill.tuning.scoring import Verdict
from synthmill.tuning.search import Proposal, Search

QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}
"""Ray's own records of a search: the journal stands in their place, and writing both slows the loop."""

MEMORY = "running low on memory"
NODE = ("node has died", "node died", "node was terminated", "node is dead")
AWAY = "temporarily unavailable"
PROCESS = "Worker exit type: SYSTEM_ERROR"
"""What Ray's account of a dead process has in it, by what ended it."""


class Proposer(Searcher):  # type: ignore[misc]
    """Hands a search's proposals to Ray."""

    def __init__(self, search: Search) -> None:
        super().__init__(metric="number", mode="max")
        self._search = search
        self.proposals: dict[str, Proposal] = {}
        """Ray's name of a trial -> what it is to try."""
        self._lost: deque[int] = deque()
        self._losses: Counter[int] = Counter()

    def suggest(self, trial_id: str) -> Any:
        proposal = self._search.again(self._lost.popleft()) if self._lost else self._search.next()
        if proposal is None:
            return None if self._search.waits else Searcher.FINISHED
        self.proposals[trial_id] = proposal
        return {"proposal": proposal}

    def try_again(self, number: int, at_most: int) -> int | None:
        """How often a trial has lost its process, if it is handed out once more; None: it has too often."""
        self._losses[number] += 1
        if self._losses[number] > at_most:
            return None
        self._lost.append(number)
        return self._losses[number]

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """What a trial had to say it has said in its reports."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is all there is."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""


class Listener(FIFOScheduler):  # type: ignore[misc]
    """Takes reports in, and stops a trial that the search gives up."""

    def __init__(
        self, search: Search, proposer: Proposer, heard: Callable[[int], None], max_failures: int
    ) -> None:
        super().__init__()
        self._search, self._proposer, self._heard = search, proposer, heard
        self._max_failures = max_failures
        self.fault: Exception | None = None
        """What went wrong here, and ended the search."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        try:
            goes_on = self._take(result)
        except Exception as fault:
            # Ray would wrap it in the text of a stack; it is raised again when Ray has come to its end.
            self.fault = self.fault or fault
            self._search.stop()
            goes_on = False
        decision: str = TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP
        return decision

    def _take(self, result: dict[str, Any]) -> bool:
        number, goes_on = result["number"], False
        if "failed" in result:
            self._search.failed(number, result["failed"], state="stopped" if result.get("cut") else "failed")
        else:
            look = json.loads(result["look"])
            verdict = Verdict(**{**look["verdict"], "values": tuple(look["verdict"]["values"])})
            goes_on = self._search.report(number, look["share"], verdict, look["spent"], cut=look["cut"])
        self._heard(number)
        return goes_on

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        proposal = self._proposer.proposals.get(trial.trial_id)
        if proposal is None:
            return
        number, reason = proposal.number, why_lost(Path(trial.error_file))
        again = self._proposer.try_again(number, self._max_failures)
        if again is not None:
            say(f"trial {number}: {reason}; it goes on in another ({again} of {self._max_failures} times)")
            return
        try:
            self._search.failed(number, reason)
            self._heard(number)
        except Exception as fault:
            self.fault = self.fault or fault
            self._search.stop()


def why_lost(said: Path) -> str:
    """One line from what Ray says of a trial without a process."""
    with contextlib.suppress(OSError):
        text = said.read_text()
        if MEMORY in text:
            return "out of memory: Ray ended its process, as its machine's memory was nearly full"
        if any(words in text for words in NODE):
            return "its process was lost with its machine"
        if AWAY in text:
            return "its process can't be reached any more, and may be lost with its machine"
        if PROCESS in text:
            return "its process was killed, as systems do when memory runs out, or crashed"
        if lines := [line.strip() for line in text.splitlines()[1:] if line.strip()]:
            return f"its process was lost: {lines[-1]}"
    return "its process was lost"


def resources_of(config: TuneConfig, training: TrainingConfig) -> dict[str, float]:
    """What one process of a trial takes, as Ray names it."""
    has_gpu = ray.cluster_resources().get("GPU", 0) >= training.workers
    wants = training.device == "cuda" or (training.device == "auto" and has_gpu)
    gpus = config.gpus if config.gpus is not None else float(wants)
    return {"CPU": float(training.threads or 1), **({"GPU": gpus} if gpus else {})}


def places(config: TuneConfig, training: TrainingConfig, asked: dict[str, float]) -> int:
    """Trials at once: as many whole ones as fit the machines, so that none waits for what another holds.

    Raises:
        ResourceError: not even one fits.
    """
    workers, gpus = training.workers, asked.get("GPU", 0.0)
    # From the coarsest to the finest, so that the message names the field that is at fault.
    cluster.require(workers=workers, field="training.workers" if workers > 1 else "training.threads")
    if gpus:
        field = "tune.gpus" if config.gpus is not None else "training.device"
        cluster.require(workers=workers, gpus=gpus, field=field)
    cluster.require(workers=workers, cpus=asked["CPU"], gpus=gpus, field="training.threads")
    # Processes of a trial are alike, so that whatever machines they are on, the rest holds whole ones.
    room = max(1, cluster.room(asked) // workers)
    return min(room, config.concurrency or room)


def run(
    search: Search,
    shared: Shared,
    *,
    at_once: int,
    max_failures: int,
    heard: Callable[[int], None],
) -> None:
    """Search until nothing is left to do. Raises KeyboardInterrupt where a person ended it."""
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    proposer = Proposer(search)
    listener = Listener(search, proposer, heard, max_failures)
    # Ray wants a folder for its records; they are of no use afterwards.
    with tempfile.TemporaryDirectory(prefix="synthmill-tune-") as scratch:
        # Where workers train, the process that leads them waits: a CPU that it took would be idle, and a
        # hundredth of one would keep its workers out of a machine that they fill. Ray wants something.
        alone = shared.recipe["training"]["workers"] == 1
        own = {name.lower(): n for name, n in shared.resources.items()} if alone else {"memory": 1}
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(run_trial, shared=shared), own),
            tune_config=tune.TuneConfig(
                search_alg=proposer,
                scheduler=listener,
                num_samples=-1,
                max_concurrent_trials=at_once,
                # A new process costs seconds of imports, as much as a short training.
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=scratch,
                # Who is tried again is the listener's to say: Ray gives up at once a trial whose process dies
                # while it starts, and others only after as many times again.
                failure_config=tune.FailureConfig(max_failures=0),
                verbose=0,
            ),
        )
        with _silent("ray.tune"):
            tuner.fit()
    if listener.fault is not None:
        raise listener.fault
    if search.waits:
        # Ray ends a search by itself when it is interrupted, and says so to nobody.
        raise KeyboardInterrupt


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    """Without a library's stacks of what a line of ours says."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
