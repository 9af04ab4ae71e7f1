"""What is done with a run's averaged weights now and then: score them, remember those that may be published,
notice a collapse and the end of patience.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from synthmill.errors import TrainingError
from synthmill.models.base import GenerativeModel
from synthmill.training.checkpoint import State
from synthmill.training.collapse import CollapseWatch
from synthmill.training.parallel import Parallel
from synthmill.training.plan import Plan
from synthmill.training.quality.base import Elsewhere, QualityCheck
from synthmill.training.run_state import RunState
from synthmill.training.selection import Candidate, Selection


class Checker:
    """The checks of one run; without a quality check none is ever due."""

    def __init__(
        self,
        quality: QualityCheck | Elsewhere | None,
        plan: Plan,
        parallel: Parallel,
        run: RunState,
    ) -> None:
        self._quality, self._plan = quality, plan
        self._parallel, self._run = parallel, run
        self.selection = Selection(latest=plan.ends_well)
        self.watch = CollapseWatch()
        self.out_of_patience = self.suspicious = False
        """As rank 0 saw them at the last check."""
        self._checked_step = -1

    def due(self, step: int, *, last: bool) -> bool:
        """Whether the weights after `step` steps are to be checked: by the step alone, so that ranks and
        repeated runs agree."""
        return self._quality is not None and (last or step % self._plan.check_every_steps == 0)

    def owes(self, step: int) -> bool:
        """Whether a run that ends now has still to check its last weights."""
        return self._quality is not None and self._checked_step != step

    def check(self, step: int, averaged: Callable[[], GenerativeModel]) -> None:
        """Rank 0 scores what `averaged` makes; all ranks learn whether patience has run out or the model has
        collapsed.

        Raises:
            TrainingError: the model collapsed, or generates what can't be scored.
        """
        self._checked_step = step
        # One rank is enough: the averages are the same on all.
        wrong = self._score(step, averaged) if self._parallel.rank == 0 else ""
        # One broadcast for all three: ranks that disagreed about the end would wait for each other for ever.
        flags = torch.tensor(
            [self._is_late(step), self.watch.suspicious, bool(wrong)],
            dtype=torch.int64,
            device=self._parallel.device,
        )
        self._parallel.broadcast_(flags)
        self.out_of_patience, self.suspicious, stopped = (bool(flag) for flag in flags.tolist())
        if stopped:
            # What was saved since the last good check is a collapsed model: a rerun must not go on from it.
            self._run.forget_after(self.watch.good_step)
            raise self._run.failure(wrong or "worker 0 saw the generator fail")

    def _is_late(self, step: int) -> bool:
        patience, selection = self._plan.patience_checks, self.selection
        if step <= self._plan.stages[-1].first:
            # Samples of a first stage say nothing: what they are drawn from is trained in the last one.
            selection.begin_patience()
        seen = selection.worse_checks if self._plan.falls else selection.checks_without_improvement
        return patience is not None and seen >= patience

    def _score(self, step: int, averaged: Callable[[], GenerativeModel]) -> str:
        """What is wrong with the weights, or nothing; candidates and history take in what is measured."""
        assert self._quality is not None
        started = time.monotonic()
        model = averaged()
        try:
            with torch.inference_mode():
                scores = {name: float(value) for name, value in self._quality(model).items()}
        except TrainingError as fault:
            return str(fault)
        scores["check_seconds"] = round(time.monotonic() - started, 4)
        chosen_by = scores.get("selection", scores["score"])
        self.selection.add(Candidate(step, chosen_by, scores["noise"], scores, copied(model)))
        self._run.record({"step": step, "quality": scores})
        self._run.show(step, self._quality.preview)
        return self.watch.see(step, scores)

    @property
    def chosen(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Weights to publish and the check that chose them; None when nothing was checked."""
        candidate = self.selection.chosen
        if candidate is None:
            return None
        return dict(candidate.state), {"step": candidate.step, **candidate.details}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Candidates with their weights, and what patience remembers."""
        tensors: dict[str, Tensor] = {}
        candidates: list[Mapping[str, Any]] = []
        for index, candidate in enumerate(self.selection.candidates):
            tensors |= {f"candidate{index}.{name}": value for name, value in candidate.state.items()}
            candidates.append(
                {
                    "step": candidate.step,
                    "score": candidate.score,
                    "noise": candidate.noise,
                    "details": dict(candidate.details),
                }
            )
        data = {
            "checked_step": self._checked_step,
            "candidates": candidates,
            "checks_without_improvement": self.selection.checks_without_improvement,
            "improved_to": self.selection.improved_to,
            "improved_noise": self.selection.improved_noise,
            "worse_checks": self.selection.worse_checks,
        }
        return tensors, data

    def load(self, state: State) -> None:
        """Take over what `state` returned; the watch over collapse follows from the history."""
        self._checked_step = state.data["checked_step"]
        candidates = [
            Candidate(**fields, state=state.under(f"candidate{index}"))
            for index, fields in enumerate(state.data["candidates"])
        ]
        # Checkpoints of earlier versions lack most of it.
        self.selection = Selection(
            candidates,
            state.data["checks_without_improvement"],
            state.data.get("improved_to"),
            state.data.get("improved_noise", 0.0),
            state.data.get("worse_checks", 0),
            self._plan.ends_well,
        )
        for record in state.data["history"]:
            self.watch.see(record["step"], record.get("quality", {}))


def copied(model: GenerativeModel) -> dict[str, Tensor]:
    """A copy of a model's weights on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}
