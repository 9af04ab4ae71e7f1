"""Whether a generator has collapsed: coverage of validation images that was there, and is gone and stays
gone."""

from collections.abc import Mapping
from dataclasses import dataclass

COVERED, COLLAPSED, CHECKS = 0.3, 0.05, 3
"""Coverage that once exceeded the first and stays under the second for so many checks is a collapse."""


@dataclass
class CollapseWatch:
    """Looks at the checks of a run in order; those without `coverage` say nothing."""

    best: float = 0.0
    gone_checks: int = 0
    good_step: int | None = None
    """The last step at which nothing was wrong."""

    @property
    def suspicious(self) -> bool:
        """Coverage is gone; checkpoints of such weights are of no use."""
        return self.gone_checks > 0

    def see(self, step: int, scores: Mapping[str, float]) -> str:
        """Take in the next check; what went wrong, or nothing."""
        coverage = scores.get("coverage")
        if coverage is None:
            return ""
        self.best = max(self.best, coverage)
        if not (self.best > COVERED and coverage < COLLAPSED):
            self.gone_checks, self.good_step = 0, step
            return ""
        # One bad check is noise: the averages of a young GAN swing.
        self.gone_checks += 1
        if self.gone_checks < CHECKS:
            return ""
        return (
            f"the generator collapsed: coverage of validation images was {self.best:.2f} and has been under"
            f" {COLLAPSED} for {CHECKS} checks (now {coverage:.2f} at step {step})"
        )
