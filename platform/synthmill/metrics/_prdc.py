"""Precision and recall (arXiv 1904.06991, equation 2) and density and coverage (arXiv 2002.09797, equations 5
and 8)."""

from dataclasses import dataclass

import numpy as np

from synthmill.metrics._columns import Floats, Ints
from synthmill.metrics._images import ImageEvidence
from synthmill.metrics._neighbours import Points, count_within, nearest

K_MANIFOLD, K_DENSITY = 3, 5


@dataclass(frozen=True)
class Prdc:
    """Counts out of `n` on each side, and what an interval of the density needs."""

    n: int
    precise: int
    """Other points inside a real point's neighbourhood."""
    recalled: int
    """Real points inside another point's neighbourhood."""
    covered: int
    """Real points whose neighbourhood holds another point."""
    density: float
    density_variance: float


def prdc(real: Points, other: Points, radii: Floats | None = None) -> Prdc:
    """Equal numbers of points a side; `radii` as `real_radii` gives them."""
    real_radii_NK = neighbour_radii(real) if radii is None else radii
    other_radii_NK = neighbour_radii(other)
    inside: Ints = count_within(other, real, real_radii_NK[:, K_DENSITY - 1])
    gap = nearest(real, other)[0][:, 0]
    return Prdc(
        n=len(real),
        precise=int(_in_any(other, real, real_radii_NK[:, K_MANIFOLD - 1])),
        recalled=int(_in_any(real, other, other_radii_NK[:, K_MANIFOLD - 1])),
        covered=int(np.count_nonzero(gap < real_radii_NK[:, K_DENSITY - 1])),
        density=float(inside.sum() / (K_DENSITY * len(other))),
        density_variance=float((inside / K_DENSITY).var() / len(real)),
    )


def neighbour_radii(points: Points) -> Floats:
    """Distances to the 5 nearest other points, (N, 5)."""
    return nearest(points, points, K_DENSITY, skip_self=True)[0]


def _in_any(queries: Points, points: Points, radii: Floats) -> int:
    """Queries that lie in the ball of at least one point."""
    found = 0
    norms = np.einsum("md,md->m", points, points)
    limits = (radii**2).astype(np.float32)
    size = max(1, (1 << 24) // max(1, len(points)))
    for at in range(0, len(queries), size):
        block = queries[at : at + size]
        gaps = norms - 2 * (block @ points.T) + np.einsum("nd,nd->n", block, block)[:, None]
        found += int((gaps < limits).any(axis=1).sum())
    return found


def compared(evidence: ImageEvidence) -> tuple[Prdc, Prdc]:
    """Synthetic and training images, each against the holdout; computed once."""
    if "prdc" not in evidence.cache:
        real = evidence.features("holdout")
        radii = neighbour_radii(real)
        evidence.cache["prdc"] = tuple(
            prdc(real, evidence.features(side), radii) for side in ("synthetic", "train")
        )
    found: tuple[Prdc, Prdc] = evidence.cache["prdc"]
    return found
