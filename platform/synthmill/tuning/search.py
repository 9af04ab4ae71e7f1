"""The course of a search: which configuration is next, whether one goes on, when the search is over.

All of it follows from the journal, so that a process that takes over goes on where the last one was. Ray sees
three methods: `next`, `report` and `failed`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synthmill.tuning.budget import MOST_TRIALS, REDUCTION, USABLE_SHARE, Costs, for_repeats, repeats_in
from synthmill.tuning.journal import Journal
from synthmill.tuning.order import survives
from synthmill.tuning.propose import propose
from synthmill.tuning.record import Record, Score, State, Trial
from synthmill.tuning.scoring import Verdict
from synthmill.tuning.selection import candidates
from synthmill.tuning.space import MODEL, Point, Space

DEFAULT = "default"


@dataclass(frozen=True)
class FirstPoint:
    """A configuration that is tried before the sampler is asked."""

    point: Point
    origin: str


@dataclass(frozen=True)
class Proposal:
    """What a process is to do: train a point to each of some shares, and look at it after each."""

    number: int
    point: Point
    seed: int
    shares: tuple[float, ...]
    done: int
    """How many of the shares are behind it, from an earlier process."""
    seconds: float | None
    """Left for it; None: no limit."""
    partial: bool
    """Whether what it has by then is worth a look, or nothing."""
    keep: bool
    """Whether its weights may be published."""
    fold: int | None = None
    """The division of train and validation rows that a repeat is judged by; None: the recipe's."""


class Search:
    """One search, in the process that leads it."""

    def __init__(
        self,
        space: Space,
        journal: Journal,
        *,
        rungs: tuple[float, ...],
        costs: Costs,
        at_once: int,
        first: Sequence[FirstPoint] = (),
        objectives: int = 1,
    ) -> None:
        self.space, self.journal, self.rungs, self.costs = space, journal, rungs, costs
        self.config = space.recipe.tune
        self._at_once, self._first, self._objectives = at_once, list(first), objectives
        self._stopped = False
        running = [trial for trial in self.record.trials.values() if trial.state == "running"]
        # What a lost process left goes first: it is half done.
        self._resumed = sorted(running, key=lambda trial: trial.number)

    @property
    def record(self) -> Record:
        """What is known."""
        return self.journal.record

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True

    @property
    def over(self) -> bool:
        """Whether nothing is left to begin."""
        return self._stopped or self._left(whole=True) == 0.0

    def next(self) -> Proposal | None:
        """What to do next; None: nothing now. Written to the journal before it is begun."""
        if self._stopped:
            return None
        if self._resumed:
            return self._give(self._resumed.pop(0))
        if not self._searched():
            return self._give(self._begin_search())
        if any(trial.state == "running" for trial in self.record.searched):
            return None  # Who is repeated is decided when all of them are known.
        return self._next_repeat()

    def again(self, number: int) -> Proposal | None:
        """What is left to do of a trial whose process was lost; None: it has ended, or the search has."""
        trial = self.record.trials[number]
        return None if self._stopped or trial.state != "running" else self._give(trial)

    @property
    def waits(self) -> bool:
        """Whether `next` may have something later, when it has nothing now."""
        return not self._stopped and any(t.state == "running" for t in self.record.trials.values())

    def report(self, number: int, share: float, verdict: Verdict, spent: float, *, cut: bool = False) -> bool:
        """Take in a look at a trial; whether it goes on. `cut`: its time ended, and it with it."""
        trial = self.record.trials[number]
        if trial.state != "running":
            return False
        if trial.last is not None and trial.last.share >= share:
            return True  # Seen before its process was lost; training repeats it exactly.
        score = Score(share, verdict.values, verdict.violations, verdict.figures, spent)
        state, reason = self._verdict(trial, score, cut)
        self.journal.append(
            "score",
            number=number,
            share=share,
            values=list(verdict.values),
            violations=verdict.violations,
            figures=verdict.figures,
            spent=round(spent, 3),
            state=state,
            reason=reason,
        )
        return state == "running"

    def failed(self, number: int, reason: str, *, state: State = "failed") -> None:
        """A trial ended without a look: it raised, ran out of memory or time, or lost its process."""
        if self.record.trials[number].state == "running":
            self.journal.append("end", number=number, state=state, reason=reason)

    def _verdict(self, trial: Trial, score: Score, cut: bool) -> tuple[State, str]:
        if score.share >= 1.0:
            return "complete", ""
        if cut:
            return "stopped", "the time budget ended"
        others = [
            seen
            for other in self.record.searched
            for seen in other.scores
            if seen.share == score.share and other.number != trial.number
        ]
        # The default is what everything is compared with: it is always trained to the end.
        if trial.number == 0 or survives(score, others, REDUCTION):
            return "running", ""
        return "stopped", f"not in the best {1 / REDUCTION:.0%} after {score.share:.0%} of the training"

    def _searched(self) -> bool:
        """Whether the search has had its trials or its time."""
        limit = self.config.max_trials
        if limit is None and self.config.budget_seconds is None:
            limit = MOST_TRIALS
        count = len(self.record.searched)
        if self.record.confirming is not None:
            return True
        if limit is not None and count >= limit:
            return True
        return count > 0 and self._left(whole=False) == 0.0

    def _left(self, *, whole: bool) -> float | None:
        """Seconds left for the search alone, or for everything; None: no limit."""
        limit = self.config.budget_seconds
        if limit is None:
            return None
        kept = 0.0 if whole else for_repeats(self.config, limit, self._whole_seconds(), self._at_once)
        return max(0.0, limit - kept - self.journal.seconds)

    def _whole_seconds(self) -> float:
        """What a whole training takes at most: what was seen, as guesses from a few steps can be far off."""
        seen = [trial.whole.seconds for trial in self.record.searched if trial.whole]
        return max(seen, default=self.costs.whole)

    def _begin_search(self) -> Trial:
        number = len(self.record.trials)
        point, origin = self._point()
        self.journal.append(
            "trial", number=number, point=_plain(point), origin=origin, seed=self.space.recipe.training.seed
        )
        return self.record.trials[number]

    def _point(self) -> tuple[Point, str]:
        searched = self.record.searched
        if not searched:
            return self.space.default(next(iter(self.space.families))), DEFAULT
        tried = [_plain(trial.point) for trial in searched]
        for first in self._first:
            if _plain(first.point) not in tried:
                return first.point, first.origin
        config = self.config
        point = propose(
            self.space, searched, sampler=config.sampler, seed=config.seed, objectives=self._objectives
        )
        return point, config.sampler

    def _next_repeat(self) -> Proposal | None:
        plan = self.record.confirming or self._plan_repeats()
        there = {(trial.of, trial.seed) for trial in self.record.trials.values() if trial.of is not None}
        # Seed by seed: wherever time ends, those that are compared have the same ones.
        for seed in plan["seeds"]:
            for number in (0, *plan["candidates"]):
                if (number, seed) not in there and self._left(whole=True) != 0.0:
                    again = len(self.record.trials)
                    point = self.record.trials[number].point
                    fields: dict[str, Any] = {"point": point, "origin": "repeat", "seed": seed, "of": number}
                    self.journal.append("trial", number=again, **fields)
                    return self._give(self.record.trials[again])
        return None

    def _plan_repeats(self) -> dict[str, Any]:
        best = candidates(self.record)
        default = self.record.trials[0]
        count, seeds = repeats_in(
            self.config,
            self._left(whole=True),
            self._whole_seconds(),
            self._at_once,
            len(best) if default.whole else 0,
        )
        first = self.space.recipe.training.seed + 1
        plan = {
            "candidates": [trial.number for trial in best[:count]],
            "seeds": list(range(first, first + seeds)),
        }
        self.journal.append("confirm", **plan)
        return plan

    def _give(self, trial: Trial) -> Proposal:
        repeat = trial.of is not None
        shares = (1.0,) if repeat else self._shares(trial)
        return Proposal(
            number=trial.number,
            point=trial.point,
            seed=trial.seed,
            shares=shares,
            done=sum(score.share >= share for share in shares for score in trial.scores[-1:]),
            seconds=self._left(whole=repeat or trial.number == 0),
            partial=trial.number == 0,
            keep=not repeat,
            fold=trial.seed if repeat else None,
        )

    def _shares(self, trial: Trial) -> tuple[float, ...]:
        """The default is trained at once where that leaves something usable soon enough."""
        limit = self.config.budget_seconds
        soon = limit is None or self.costs.whole <= USABLE_SHARE * limit
        return (1.0,) if trial.number == 0 and soon else self.rungs


def family_of(trial: Trial) -> str:
    """The model that a trial trains."""
    return str(trial.point[MODEL])


def _plain(point: Point) -> Point:
    """As it reads in JSON, so that points of this process and of the journal are equal."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in point.items()}
