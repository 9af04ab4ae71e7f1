"""Synthetic rows suspiciously close to training rows, held against the holdout at three scales."""

from dataclasses import dataclass

import numpy as np

from synthmill.metrics._columns import Floats
from synthmill.metrics._evidence import Evidence
from synthmill.metrics._intervals import excess_p
from synthmill.metrics._neighbours import nearest
from synthmill.metrics._sample import draw
from synthmill.metrics._space import Points
from synthmill.metrics.base import Estimate, Metric, Result

SCALES = (0.001, 0.003, 0.01)


class NearCopy(Metric):
    """Smallest of three one-sided p-values times three (Bonferroni).

    tau_q is the q-quantile of the distances between train and holdout rows (nearest neighbours, both ways, pooled), q = 0.1,
    0.3 and 1%. At each scale a = train rows and b = holdout rows with a synthetic row nearer than tau (nearer or equal where
    tau is 0, as in discrete tables: exact matches). Equal numbers of distinct rows a side, and everything but a and b is
    symmetric in the two, so without copying a is hypergeometric given a + b: an exact test, per real row.
    """

    name = "privacy.near_copy_pvalue"
    axis = "privacy"
    goal = "maximize"
    bounds = (0.0, 1.0)
    needs = ("holdout",)
    profile = "quick"
    advice = "The generator memorises. Do not publish; train a smaller model, stop earlier, use more rows, or filter rows near training rows and evaluate again on a fresh holdout."

    def compute(self, evidence: Evidence) -> Result:
        sides = evidence.real.single_sides
        assert sides is not None
        limit, seed = evidence.settings.limits.neighbour_rows, evidence.settings.seed
        size = min(sides[0].num_rows, sides[1].num_rows, limit or sides[0].num_rows)
        if size < 2 or not evidence.real.space.axes:
            return self.missing(
                "unavailable", f"only {size} holdout rows occur once; too few to tell copies from chance", n={"holdout": size}
            )
        synthetic = evidence.points("synthetic", limit)
        train, holdout = (evidence.real.space.points(draw(side, size, seed + 2)) for side in sides)
        found = near_copies(train, holdout, synthetic)
        a, b = found.counts[found.best]
        return self.result(
            value=found.p,
            reference=0.5,
            n={"train": size, "holdout": size, "synthetic": len(synthetic)},
            gate_n=min(size, len(synthetic)),
            method="rows that occur once, equal sides; exact hypergeometric test at 3 scales, Bonferroni; reference: a p-value's mean without copying",
            aspects={
                "ratio": Estimate(value=(a + 0.5) / (b + 0.5), reference=1.0),
                "train_share": Estimate(value=a / size, reference=b / size),
            },
            details={"scales": found.rows()},
        )


@dataclass(frozen=True)
class NearCopies:
    """The test at each of SCALES."""

    taus: tuple[float, ...]
    counts: tuple[tuple[int, int], ...]
    """Train and holdout rows with a synthetic row nearer than tau."""
    p_values: tuple[float, ...]

    @property
    def best(self) -> int:
        """The scale with the smallest p."""
        return int(np.argmin(self.p_values))

    @property
    def p(self) -> float:
        """The smallest p, corrected for the number of scales."""
        return min(1.0, self.p_values[self.best] * len(self.p_values))

    def rows(self) -> list[dict[str, float]]:
        """One record a scale, for the report."""
        both = zip(SCALES, self.taus, self.counts, self.p_values, strict=True)
        return [{"quantile": q, "tau": tau, "train": a, "holdout": b, "p": p} for q, tau, (a, b), p in both]


def near_copies(train: Points, holdout: Points, synthetic: Points) -> NearCopies:
    """The test on points of an equal number of rows a side."""
    between = np.concatenate([nearest(holdout, train)[0][:, 0], nearest(train, holdout)[0][:, 0]])
    to_train, to_holdout = nearest(train, synthetic)[0][:, 0], nearest(holdout, synthetic)[0][:, 0]
    taus = tuple(float(np.quantile(between, q, method="lower")) for q in SCALES)
    counts = tuple((_within(to_train, tau), _within(to_holdout, tau)) for tau in taus)
    return NearCopies(taus, counts, tuple(excess_p(a, b, len(train), len(holdout)) for a, b in counts))


def _within(distances: Floats, tau: float) -> int:
    return int(np.count_nonzero(distances < tau if tau > 0 else distances <= 0))
