"""What the driver and the workers of one run tell each other, through an actor on the driver's machine."""

import contextlib
import threading
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from synthmill.errors import SynthmillError

ASK_SECONDS = 0.5
"""Between two questions of rank 0 for orders."""


@dataclass(frozen=True)
class Attempt:
    """One group of workers that began to train."""

    workers: int
    began: float
    """Seconds since the epoch, by the clock of the roster's machine."""
    left_at: int | None = None
    """The step of the checkpoint with which it made room for another group; None while it trains, and of a
    group that was lost."""


class Roster:
    """Why a run can't go on, who has trained it, and what its workers are to do next."""

    def __init__(self) -> None:
        self._fault: SynthmillError | None = None
        self._attempts: list[Attempt] = []
        self._saves = 0
        self._leave = False

    def keep(self, fault: SynthmillError) -> None:
        """The reason why the run can't go on, for workers that start again because one of them raised it. The
        first one counts."""
        self._fault = self._fault or fault

    def fault(self) -> SynthmillError | None:
        """The reason; None while the run goes on."""
        return self._fault

    def join(self, workers: int, now: float) -> None:
        """So many workers begin to train together."""
        self._attempts.append(Attempt(workers, now))
        # An order for those before is none for these.
        self._leave = False

    def left(self, step: int) -> None:
        """They have made room for others."""
        last = self._attempts[-1]
        self._attempts[-1] = Attempt(last.workers, last.began, step)

    def attempts(self) -> list[Attempt]:
        """All that began, oldest first."""
        return list(self._attempts)

    def save(self) -> None:
        """Order a checkpoint."""
        self._saves += 1

    def leave(self) -> None:
        """Order the workers to write a checkpoint and make room."""
        self._leave = True

    def orders(self) -> tuple[int, bool]:
        """How many checkpoints were ordered so far, and whether to leave."""
        return self._saves, self._leave


def start_roster() -> Any:
    """A handle of a new one. On the driver's own machine: it is lost only with the job, not with a worker's
    node."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Roster).remote()


class Listener:
    """Rank 0's ear: asks in a thread of its own, so that no step waits for an answer."""

    def __init__(self, roster: Any) -> None:
        self._roster = roster
        self._seen, self._leave = ray.get(roster.orders.remote())
        self._saves = self._seen
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "Listener":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def __call__(self) -> Literal["", "save", "leave"]:
        """The order to follow after this step; each is told once, but for the one to leave."""
        if self._leave:
            return "leave"
        told, self._seen = self._saves > self._seen, self._saves
        return "save" if told else ""

    def _listen(self) -> None:
        while not self._done.wait(ASK_SECONDS):
            # A driver that is gone gives no orders; Ray ends this process soon.
            with contextlib.suppress(RayError):
                self._saves, self._leave = ray.get(self._roster.orders.remote())
