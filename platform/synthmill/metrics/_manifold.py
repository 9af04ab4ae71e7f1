"""Coverage and density (Naeem et al., arXiv 2002.09797, eq. 5 and 8) and what they share."""

from dataclasses import dataclass

import numpy as np

from synthmill.metrics._evidence import Evidence
from synthmill.metrics._neighbours import Points, count_within, nearest

K = 5


@dataclass(frozen=True)
class Manifold:
    """Coverage and density of one table against real rows, with what their intervals need."""

    covered: int
    density: float
    density_variance: float
    rows: int


@dataclass(frozen=True)
class Compared:
    """The synthetic rows and, where there is a holdout, the holdout rows against the training rows; equal
    rows everywhere."""

    synthetic: Manifold
    holdout: Manifold | None
    tied: float
    """Share of training rows with K equal ones: of them the density counts nothing, as nothing lies strictly
    within radius 0."""


def manifold(real: Points, radii_k: np.ndarray, other: Points) -> Manifold:
    """`radii_k`: distance of each real row to its k-th real neighbour.

    Where that is 0 (a row that occurs k + 1 times, as in discrete tables) an equal row covers it; no row
    could be nearer.
    """
    gap = nearest(real, other)[0][:, 0]
    inside = count_within(other, real, radii_k)
    return Manifold(
        covered=int(np.count_nonzero((gap < radii_k) | (gap == 0))),
        density=float(inside.sum() / (K * len(other))),
        density_variance=float((inside / K).var() / len(real)),
        rows=len(real),
    )


def compared(evidence: Evidence) -> Compared | None:
    """Both comparisons, computed once; None where there are too few rows."""
    if "manifold" not in evidence.cache:
        evidence.cache["manifold"] = _compare(evidence)
    found: Compared | None = evidence.cache["manifold"]
    return found


def _compare(evidence: Evidence) -> Compared | None:
    limit, real = evidence.settings.limits.neighbour_rows, evidence.real
    held = real.holdout.num_rows if real.holdout is not None else None
    sizes = [
        real.train.num_rows,
        evidence.sample.num_rows,
        *([limit] if limit else []),
        *([held] if held and held > 10 * K else []),
    ]
    size = min(sizes)
    if size < 2 * K or not real.space.axes:
        return None
    train = evidence.points("train", size)
    radii = nearest(train, train, K, skip_self=True)[0][:, -1]
    against = manifold(train, radii, evidence.points("synthetic", size))
    held_out = manifold(train, radii, evidence.points("holdout", size)) if held and held >= size else None
    return Compared(against, held_out, float((radii == 0).mean()))


def expected_coverage(rows: int, k: int = K) -> float:
    """Coverage of equally many rows of one distribution (arXiv 2002.09797, eq. 9): 1 - prod (N - i) / (2N -
    i), i = 1..k."""
    i = np.arange(1, k + 1)
    return float(1 - np.prod((rows - i) / (2 * rows - i)))
