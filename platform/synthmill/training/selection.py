"""Which of a run's checks is published: among those within noise of the best, the earliest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

MOST_CANDIDATES = 4


@dataclass(frozen=True)
class Candidate:
    """A checked model. `noise` is the standard error of its score."""

    step: int
    score: float
    noise: float
    details: Mapping[str, Any]
    state: Mapping[str, Tensor]


@dataclass
class Selection:
    """Keeps only the weights that may still be published: each later candidate scores above all earlier
    ones."""

    candidates: list[Candidate] = field(default_factory=list)
    checks_without_improvement: int = 0

    def add(self, candidate: Candidate) -> None:
        """Take in the next check."""
        best = self.best
        # A gain within noise is none: patience would never run out otherwise.
        if best is not None and candidate.score <= best.score + candidate.noise:
            self.checks_without_improvement += 1
        else:
            self.checks_without_improvement = 0
        if best is not None and candidate.score <= best.score:
            return
        within = [other for other in self.candidates if other.score >= candidate.score - candidate.noise]
        self.candidates = [*within[: MOST_CANDIDATES - 1], candidate]

    @property
    def best(self) -> Candidate | None:
        """The highest score."""
        return self.candidates[-1] if self.candidates else None

    @property
    def chosen(self) -> Candidate | None:
        """What is published."""
        return self.candidates[0] if self.candidates else None
