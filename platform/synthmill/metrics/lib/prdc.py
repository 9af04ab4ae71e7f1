"""Precision and recall (arXiv 1904.06991, eq. 2), density and coverage (arXiv 2002.09797, eq. 5, 8 and 9)."""

from dataclasses import dataclass

import numpy as np

from synthmill.metrics.lib.columns import Floats, Ints
from synthmill.metrics.lib.neighbours import Points, count_within, nearest

# k as in both papers: 3 for precision and recall, 5 for density and coverage.
K_MANIFOLD, K_DENSITY = 3, 5


@dataclass(frozen=True)
class Coverage:
    """How far other points cover `rows` real ones, with what intervals need."""

    rows: int
    covered: int
    """Real points whose neighbourhood holds another point."""
    density: float
    density_variance: float


@dataclass(frozen=True)
class Prdc(Coverage):
    """The same, and counts of points that lie in any neighbourhood of the other side."""

    precise: int
    """Other points inside a real point's neighbourhood."""
    recalled: int
    """Real points inside another point's neighbourhood."""


def neighbour_radii(points: Points) -> Floats:
    """Distances to the 5 nearest other points, (N, 5)."""
    return nearest(points, points, K_DENSITY, skip_self=True)[0]


def coverage(real: Points, radii_NK: Floats, other: Points) -> Coverage:
    """`radii_NK`: `neighbour_radii` of the real points."""
    radii = radii_NK[:, K_DENSITY - 1]
    gap = nearest(real, other)[0][:, 0]
    inside: Ints = count_within(other, real, radii)
    return Coverage(
        rows=len(real),
        # Where the radius is 0 (a point that occurs 6 times, as in discrete tables) nothing can lie strictly
        # within it; an equal point covers it.
        covered=int(np.count_nonzero((gap < radii) | (gap == 0))),
        density=float(inside.sum() / (K_DENSITY * len(other))),
        density_variance=float((inside / K_DENSITY).var() / len(real)),
    )


def prdc(real: Points, other: Points, radii_NK: Floats | None = None) -> Prdc:
    """All four; equally many points a side. `radii_NK` where they are known."""
    # The radii of the real side are needed twice: for the synthetic images and for the reference.
    real_radii = neighbour_radii(real) if radii_NK is None else radii_NK
    covered = coverage(real, real_radii, other)
    return Prdc(
        rows=covered.rows,
        covered=covered.covered,
        density=covered.density,
        density_variance=covered.density_variance,
        precise=_in_any(other, real, real_radii[:, K_MANIFOLD - 1]),
        recalled=_in_any(real, other, neighbour_radii(other)[:, K_MANIFOLD - 1]),
    )


def expected_coverage(rows: int, k: int = K_DENSITY) -> float:
    """Of equally many rows of one distribution (arXiv 2002.09797, eq. 9): 1 - prod_i (N - i) / (2N - i)."""
    i = np.arange(1, k + 1)
    return float(1 - np.prod((rows - i) / (2 * rows - i)))


def _in_any(queries: Points, points: Points, radii: Floats) -> int:
    """Queries that lie in the ball of at least one point."""
    inside = 0
    norms = np.einsum("md,md->m", points, points)
    limits = (radii**2).astype(np.float32)
    # Distances of a block of queries to all points at once, in bounded memory.
    size = max(1, (1 << 24) // max(1, len(points)))
    for at in range(0, len(queries), size):
        block = queries[at : at + size]
        gaps = norms - 2 * (block @ points.T) + np.einsum("nd,nd->n", block, block)[:, None]
        inside += int((gaps < limits).any(axis=1).sum())
    return inside
