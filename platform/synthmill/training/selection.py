"""Which of a run's checks is published: the best, or, of a model whose learning rate has fallen by then, the
latest that is not surely worse.

Not the earliest within noise of the best: a check that knows few validation rows can't tell half-trained
weights from trained ones, and a classifier can (docs/log.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

SURELY = 3.0
"""Standard errors by which weights are worse without doubt."""


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
    """Keeps only the weights that may still be published: the best; where the latest is published, that one
    too."""

    candidates: list[Candidate] = field(default_factory=list)
    checks_without_improvement: int = 0
    improved_to: float | None = None
    """Score of the last check that improved; gains are counted from it."""
    improved_noise: float = 0.0
    worse_checks: int = 0
    """Checks in a row that were surely worse than the best."""
    latest: bool = False
    """Whether the latest is published that the best is not surely better than."""

    def add(self, candidate: Candidate) -> None:
        """Take in the next check."""
        best = self.best
        # A gain within noise is none: patience would never run out otherwise. Not from the best, or a score
        # that rises by little at every check would seem to stand still. The larger noise of both, as it is
        # known by a few parts of the rows alone.
        noise = max(candidate.noise, self.improved_noise)
        if self.improved_to is not None and candidate.score <= self.improved_to + noise:
            self.checks_without_improvement += 1
        else:
            self.checks_without_improvement = 0
            self.improved_to, self.improved_noise = candidate.score, candidate.noise
        # One standard error below the best of many is often passed by chance.
        surely = SURELY * candidate.noise
        is_worse = best is not None and candidate.score < best.score - surely
        self.worse_checks = self.worse_checks + 1 if is_worse else 0
        if self.latest:
            if best is None or candidate.score > best.score + surely:
                self.candidates = [candidate]
            elif not is_worse:
                self.candidates = [best, candidate]
            return
        if best is None or candidate.score > best.score:
            self.candidates = [candidate]

    def begin_patience(self) -> None:
        """Count anew: what came before was no attempt at a good score."""
        self.checks_without_improvement = self.worse_checks = 0
        self.improved_to, self.improved_noise = None, 0.0

    @property
    def best(self) -> Candidate | None:
        """The highest score."""
        return max(self.candidates, key=lambda candidate: candidate.score, default=None)

    @property
    def chosen(self) -> Candidate | None:
        """What is published."""
        # Checkpoints of earlier versions hold several, the best of them last.
        return self.candidates[-1] if self.candidates else None
