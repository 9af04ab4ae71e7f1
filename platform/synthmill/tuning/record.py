"""What is known of a search: its trials and what each was seen to be worth, replayed from the journal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["running", "complete", "stopped", "failed"]
SEARCH, CONFIRM = "search", "confirm"


@dataclass(frozen=True)
class Score:
    """One look at a configuration."""

    share: float
    """Of the whole training that it had; 1: all of it."""
    values: tuple[float, ...]
    """By objective, higher is better."""
    violations: Mapping[str, float] = field(default_factory=dict)
    """By constraint; above 0: broken."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What the values are made of."""
    seconds: float = 0.0
    """That this look took, training included."""

    @property
    def feasible(self) -> bool:
        """Whether no constraint is broken."""
        return all(value <= 0 for value in self.violations.values())

    @property
    def mean(self) -> float:
        """One number, where one is needed."""
        return sum(self.values) / len(self.values)


@dataclass
class Trial:
    """One configuration with one seed."""

    number: int
    point: dict[str, Any]
    origin: str
    """default, portfolio, earlier, or the sampler's name."""
    seed: int
    of: int | None = None
    """The trial that this one repeats with another seed; None: it is part of the search."""
    scores: list[Score] = field(default_factory=list)
    state: State = "running"
    reason: str = ""
    began: float = 0.0
    ended: float = 0.0
    """Seconds of the search, all of its processes together."""

    @property
    def last(self) -> Score | None:
        """The score of the longest training so far."""
        return self.scores[-1] if self.scores else None

    @property
    def whole(self) -> Score | None:
        """The score of the whole training; None: it was never finished."""
        return self.last if self.state == "complete" else None


@dataclass
class Record:
    """Everything that a journal says."""

    trials: dict[int, Trial] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)
    confirming: dict[str, Any] | None = None
    """`candidates` and `seeds`, once they are decided."""
    finished: dict[str, Any] | None = None
    seconds: float = 0.0
    """Of the search so far, all of its processes together."""

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        self.seconds = max(self.seconds, float(event.get("seconds", 0.0)))
        kind = event["event"]
        if kind == "begin":
            self.settings = self.settings or dict(event["settings"])
        elif kind == "trial":
            trial = Trial(
                number=event["number"],
                point=dict(event["point"]),
                origin=event["origin"],
                seed=event["seed"],
                of=event.get("of"),
                began=event["seconds"],
            )
            self.trials[trial.number] = trial
        elif kind == "score":
            self._score(event)
        elif kind == "end":
            trial = self.trials[event["number"]]
            trial.state, trial.reason, trial.ended = event["state"], event["reason"], event["seconds"]
        elif kind == "published":
            self.published.append(dict(event))
        elif kind == "confirm":
            self.confirming = {"candidates": event["candidates"], "seeds": event["seeds"]}
        elif kind == "extend":
            # More trials or time than before: who is repeated is decided anew.
            self.confirming = self.finished = None
        elif kind == "finish":
            self.finished = dict(event)

    def _score(self, event: Mapping[str, Any]) -> None:
        trial = self.trials[event["number"]]
        # The same look again, after a lost process: training repeats it exactly, so that the first counts.
        if trial.last is not None and trial.last.share >= event["share"]:
            return
        trial.scores.append(
            Score(
                share=event["share"],
                values=tuple(event["values"]),
                violations=dict(event["violations"]),
                figures=dict(event["figures"]),
                seconds=event["spent"],
            )
        )
        trial.state, trial.reason = event["state"], event.get("reason", "")
        if trial.state != "running":
            trial.ended = event["seconds"]

    @property
    def searched(self) -> list[Trial]:
        """Trials of the search, by number."""
        return [trial for _, trial in sorted(self.trials.items()) if trial.of is None]

    def repeats(self, number: int) -> dict[int, float]:
        """Seed -> score of the finished repeats of a trial."""
        return {
            trial.seed: trial.whole.mean
            for trial in self.trials.values()
            if trial.of == number and trial.whole is not None
        }
