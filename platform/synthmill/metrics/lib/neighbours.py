"""Nearest neighbours by brute force in blocks: exact, and bounded in memory whatever the number of rows."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from synthmill.metrics.lib.columns import Floats, Ints

Points = npt.NDArray[np.float32]
BLOCK_CELLS = 1 << 21


def nearest(
    queries_ND: Points, points_MD: Points, k: int = 1, *, skip_self: bool = False
) -> tuple[Floats, Ints]:
    """Distances (N, k), ascending, and indices (N, k) of the k nearest points to each query.

    Candidates come from a matrix product in float32, which can confuse points whose distances differ by less
    than about 0.003; the distances of those chosen are computed again from differences, so that a copy is at
    distance 0 exactly. `skip_self`: queries and points are the same rows, none is its own neighbour.
    """
    if len(points_MD) < k + int(skip_self):
        raise ValueError(f"{k} neighbours need at least {k + int(skip_self)} points, got {len(points_MD)}")
    # Callers pass some columns of a matrix, of which a product would copy every block.
    queries_ND, points_MD = np.ascontiguousarray(queries_ND), np.ascontiguousarray(points_MD)
    indices = np.empty((len(queries_ND), k), dtype=np.int64)
    for start, gaps in _blocks(queries_ND, points_MD):
        rows = np.arange(len(gaps))
        if skip_self:
            gaps[rows, rows + start] = np.inf
        for rank in range(k):
            nearest_points = np.argmin(gaps, axis=1)
            indices[start : start + len(gaps), rank] = nearest_points
            gaps[rows, nearest_points] = np.inf
    # Chosen by the product, measured by differences: |a|^2 - 2ab + |b|^2 is not 0 for equal rows in float32,
    # and copies are at distance 0.
    distances = _exact(queries_ND, points_MD, indices)
    # Near ties may come out of the product in another order than they have.
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)


def count_within(queries_ND: Points, points_MD: Points, radii_M: Floats) -> Ints:
    """int64 (M,): how many queries lie closer to each point than the point's radius."""
    counts = np.zeros(len(points_MD), dtype=np.int64)
    squared = (radii_M**2).astype(np.float32)
    norms = np.einsum("nd,nd->n", queries_ND, queries_ND)
    for start, gaps in _blocks(queries_ND, points_MD):
        gaps += norms[start : start + len(gaps), None]
        counts += np.count_nonzero(gaps < squared, axis=0)
    return counts


def _blocks(queries_ND: Points, points_MD: Points) -> Iterator[tuple[int, Points]]:
    """Blocks of |p|^2 - 2 q.p, which is the squared distance less |q|^2, from one matrix product."""
    # The norms ride along as a column of the product, which saves a pass over each block.
    norms = np.einsum("md,md->m", points_MD, points_MD)
    right = np.ascontiguousarray(np.concatenate([points_MD, norms[:, None]], axis=1).T)
    size = max(16, BLOCK_CELLS // max(1, len(points_MD)))
    for start in range(0, len(queries_ND), size):
        block = queries_ND[start : start + size]
        left = np.concatenate([block * np.float32(-2), np.ones((len(block), 1), dtype=np.float32)], axis=1)
        yield start, left @ right


def _exact(queries_ND: Points, points_MD: Points, found_Nk: Ints) -> Floats:
    columns = [
        np.sqrt(((queries_ND - points_MD[found_Nk[:, j]]).astype(np.float64) ** 2).sum(axis=1))
        for j in range(found_Nk.shape[1])
    ]
    return np.stack(columns, axis=1)
