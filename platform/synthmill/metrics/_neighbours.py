"""Nearest neighbours by brute force in blocks: exact, and bounded in memory whatever the number of rows."""

from typing import Any

import numpy as np
import numpy.typing as npt

from synthmill.metrics._columns import Floats, Ints

Points = npt.NDArray[np.float32]
BLOCK_CELLS = 1 << 24


def nearest(queries_ND: Points, points_MD: Points, k: int = 1, *, skip_self: bool = False) -> tuple[Floats, Ints]:
    """Distances (N, k), ascending, and indices (N, k) of the k nearest points to each query.

    Candidates come from a matrix product in float32; their distances are computed again from differences, so that equal rows
    are at distance 0 exactly. `skip_self`: queries and points are the same rows, none is its own neighbour.
    """
    if len(points_MD) < k + int(skip_self):
        raise ValueError(f"{k} neighbours need at least {k + int(skip_self)} points, got {len(points_MD)}")
    distances = np.empty((len(queries_ND), k))
    indices = np.empty((len(queries_ND), k), dtype=np.int64)
    for start, gaps in _blocks(queries_ND, points_MD):
        rows = np.arange(start, start + len(gaps))
        if skip_self:
            gaps[np.arange(len(gaps)), rows] = np.inf
        found: Any = np.argmin(gaps, axis=1)[:, None] if k == 1 else np.argpartition(gaps, k - 1, axis=1)[:, :k]
        exact = _exact(queries_ND[rows], points_MD, found)
        order = np.argsort(exact, axis=1, kind="stable")
        distances[rows] = np.take_along_axis(exact, order, axis=1)
        indices[rows] = np.take_along_axis(found, order, axis=1)
    return distances, indices


def count_within(queries_ND: Points, points_MD: Points, radii_M: Floats) -> Ints:
    """int64 (M,): how many queries lie closer to each point than the point's radius."""
    counts = np.zeros(len(points_MD), dtype=np.int64)
    squared = (radii_M**2).astype(np.float32)
    for _, gaps in _blocks(queries_ND, points_MD):
        counts += np.count_nonzero(gaps < squared, axis=0)
    return counts


def _blocks(queries_ND: Points, points_MD: Points) -> Any:
    norms = np.einsum("md,md->m", points_MD, points_MD)
    size = max(1, BLOCK_CELLS // max(1, len(points_MD)))
    for start in range(0, len(queries_ND), size):
        block = queries_ND[start : start + size]
        gaps = block @ points_MD.T
        gaps *= -2
        gaps += norms
        gaps += np.einsum("nd,nd->n", block, block)[:, None]
        yield start, gaps


def _exact(queries_ND: Points, points_MD: Points, found_Nk: Ints) -> Floats:
    columns = [np.sqrt(((queries_ND - points_MD[found_Nk[:, j]]).astype(np.float64) ** 2).sum(axis=1)) for j in range(found_Nk.shape[1])]
    return np.stack(columns, axis=1)
