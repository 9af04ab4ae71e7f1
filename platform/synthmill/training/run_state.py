"""What of a run outlives a step: its history, its clock and its checkpoints.

`Part` is whatever else a checkpoint contains (the loop, the checker): tensors by name and plain JSON data.
"""

import time
from collections.abc import Callable
from typing import Any, Literal, NoReturn, Protocol

import torch
from torch import Tensor

from synthmill.config import TrainingConfig
from synthmill.errors import RecipeError, TrainingError
from synthmill.training.checkpoint import Checkpoints, State
from synthmill.training.parallel import Parallel
from synthmill.training.reporter import Reporter

Orders = Callable[[], Literal["", "save", "leave"]]
"""What whoever started the workers wants after a step: nothing, a checkpoint, or one and then an end, so that
another number of workers goes on from there."""


class LeavingError(Exception):
    """The workers end here, and others go on from the checkpoint of this step. No fault."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the workers make room for others at step {step}")
        self.step = step


class Part(Protocol):
    """Something that is saved in a checkpoint and restored from it."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON data; names of different parts differ."""

    def load(self, state: State) -> None:
        """Take over what `state` returned."""


class RunState:
    """Records, saves and resumes a run; every rank has one, rank 0 writes."""

    def __init__(
        self,
        config: TrainingConfig,
        parallel: Parallel,
        reporter: Reporter,
        checkpoints: Checkpoints | None,
        run_key: str,
    ) -> None:
        self._config, self._parallel, self._reporter = config, parallel, reporter
        self._checkpoints, self._run_key = checkpoints, run_key
        self.history: list[dict[str, Any]] = []
        self.finished = False
        """Whether the run came to its end, in this process or the one that it resumes."""
        self.ended = ""
        """Why, in words."""
        self._seconds_before = 0.0
        self._started = self._saved = time.monotonic()

    @property
    def leads(self) -> bool:
        """Whether this rank writes the results."""
        return self._parallel.rank == 0

    @property
    def seconds(self) -> float:
        """Training time over all processes that had a part in the run."""
        return self._seconds_before + time.monotonic() - self._started

    @property
    def is_late(self) -> bool:
        """Whether the time that the recipe gives is over."""
        limit = self._config.max_seconds
        return limit is not None and self.seconds >= limit

    def say(self, message: str) -> None:
        """A line to a person."""
        if self._parallel.rank == 0:
            self._reporter.log({"message": message})

    def record(self, record: dict[str, Any]) -> None:
        """Add to the history, which goes into the artifact."""
        if self._parallel.rank == 0:
            self.history.append(record)
            self._reporter.log(record)

    def show(self, step: int, preview: bytes | None) -> None:
        """Pass on a PNG of what a check sampled; the history has numbers only."""
        if preview is not None and self._parallel.rank == 0:
            self._reporter.log({"step": step, "preview": preview})

    def control(
        self, should_stop: Callable[[], bool] | None, orders: Orders | None = None
    ) -> tuple[bool, bool, bool]:
        """(stop, save, leave), as rank 0's clock says: ranks that disagreed would wait for each other for
        ever. Who leaves saves before."""
        stop = save = leave = False
        if self._parallel.rank == 0:
            stop = self.is_late or (should_stop is not None and should_stop())
            waited = time.monotonic() - self._saved
            order = orders() if orders is not None else ""
            save = self._checkpoints is not None and (
                waited >= self._config.checkpoint_seconds or order != ""
            )
            # Without a checkpoint, others would begin anew.
            leave = save and order == "leave"
        # One process needs no agreement, and reading a flag back would make it wait for its GPU.
        if self._parallel.world > 1:
            flags = torch.tensor([stop, save, leave], dtype=torch.int64, device=self._parallel.device)
            self._parallel.broadcast_(flags)
            stop, save, leave = (bool(flag) for flag in flags.tolist())
        return stop, save, leave

    def leave(self, step: int) -> NoReturn:
        """End this process's part in the run, whose checkpoint is of `step`.

        Raises:
            LeavingError: always.
        """
        # The first process that ends may take the others with it: rank 0 must have written by then.
        self._parallel.barrier()
        raise LeavingError(step)

    def save(self, step: int, parts: tuple[Part, ...], *, good_step: int | None) -> None:
        """Write a checkpoint; the newest one up to `good_step` stays beside the latest few."""
        if self._checkpoints is not None and self._parallel.rank == 0:
            tensors: dict[str, Tensor] = {}
            data: dict[str, Any] = {
                "run_key": self._run_key,
                "step": step,
                "seconds": self.seconds,
                "finished": self.finished,
                "ended": self.ended,
                "history": self.history,
            }
            for part in parts:
                part_tensors, part_data = part.state()
                tensors |= part_tensors
                data |= part_data
            self._checkpoints.save(step, State(tensors, data), good_step=good_step)
        self._saved = time.monotonic()

    @property
    def saves(self) -> bool:
        """Whether the run leaves checkpoints."""
        return self._checkpoints is not None

    def resume(self, parts: tuple[Part, ...], total_steps: int) -> None:
        """Go on from the newest intact checkpoint of this very run, if the recipe allows and there is one.

        Raises:
            RecipeError: there is none, and the recipe says `resume: always`.
        """
        state = self._latest()
        if state is None:
            if self._config.resume == "always":
                raise RecipeError(
                    "there is no checkpoint of this recipe to resume from; use if-possible",
                    field="training.resume",
                )
            return
        self._seconds_before = state.data["seconds"]
        self.finished, self.history = state.data["finished"], state.data["history"]
        self.ended = state.data.get("ended", "")
        for part in parts:
            part.load(state)
        self.say(f"resumed at step {state.data['step']} of {total_steps}")

    def _latest(self) -> State | None:
        checkpoints, state = self._checkpoints, None
        if checkpoints is not None and self._config.resume != "never":
            state = checkpoints.latest()
            # Of another recipe or another codec: its weights fit no longer.
            if state is not None and state.data["run_key"] != self._run_key:
                state = None
        # Rank 0 deletes damaged checkpoints next: all must have read by then.
        self._parallel.barrier()
        if state is not None and checkpoints is not None and checkpoints.damage and self._parallel.rank == 0:
            self.say(f"{'; '.join(checkpoints.damage)}: an older checkpoint is taken")
            checkpoints.forget_after(state.data["step"])
        return state

    def forget_after(self, step: int | None) -> None:
        """Drop checkpoints that hold a failure rather than a model."""
        if self._checkpoints is not None and step is not None:
            self._checkpoints.forget_after(step)

    def failure(self, what: str) -> TrainingError:
        """An error that says what is left of the run and what to try."""
        remaining = "the last good checkpoint remains" if self.saves else "no checkpoints were written"
        return TrainingError(f"{what}; {remaining}; try a lower learning rate")
