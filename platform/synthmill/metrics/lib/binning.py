"""How a table is cut into bins: fitted on the training rows alone, then applied to any table without change.

Numeric columns: a value that holds at least a tenth of the rows gets a bin of its own (zero inflation must
not swallow the other bins), the rest is cut at its deciles. Categories: every level with at least 5 training
rows, at most 100, one bin for all others. Missing is a bin of every column. Pairs of columns use the same
numeric bins and the 9 most frequent levels.
"""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from synthmill.metrics.lib.columns import MISSING, Bools, Column, Floats, Ints, floats, texts

NUM_BINS = 10
MIN_LEVEL_ROWS = 5
MAX_LEVELS = 100
MAX_PAIR_LEVELS = 9
MIN_BIN_ROWS = 20


@dataclass(frozen=True)
class Bins:
    """The bins of one column. `size` counts all of them; the last one is missing."""

    column: Column
    size: int
    coarse: Ints
    """(size,): bin -> bin used in pairs."""
    coarse_size: int
    edges: Floats = field(default_factory=lambda: np.empty(0))
    atoms: Floats = field(default_factory=lambda: np.empty(0))
    levels: dict[str, int] = field(default_factory=dict)
    """Category -> index among all training levels, most frequent first; `kept` have their own bin."""
    kept: int = 0
    level_counts: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    low: float = np.nan
    high: float = np.nan
    """Smallest and largest training value (numeric; NaN when there is none)."""


@dataclass(frozen=True)
class Plan:
    """The bins of every column that is compared, and the pairs of columns that are counted."""

    columns: tuple[Column, ...]
    bins: dict[str, Bins]
    pairs: tuple[tuple[str, str], ...] = ()
    association: dict[tuple[str, str], float] = field(default_factory=dict)
    """Bias-corrected Cramer's V in the training rows, for every counted pair."""
    candidates: int = 0
    """Pairs whose association was measured; fewer than there are in wide tables."""


def fit_bins(column: Column, data: pa.ChunkedArray) -> Bins:
    """The bins of one column, from its training values."""
    return _numeric_bins(column, floats(data)) if column.role == "numeric" else _category_bins(column, data)


def _numeric_bins(column: Column, values: Floats) -> Bins:
    present = values[np.isfinite(values)]
    edges = atoms = np.empty(0)
    low = high = np.nan
    if len(present):
        low, high = float(present.min()), float(present.max())
        distinct, counts = np.unique(present, return_counts=True)
        # Zero inflation: half of the rows at 0 would leave one bin for the rest between equal deciles.
        atoms = distinct[counts >= max(len(present) / NUM_BINS, MIN_BIN_ROWS)]
        rest = present[~np.isin(present, atoms)]
        # Fewer bins in small tables: a bin of some rows is all noise.
        num_bins = int(np.clip(len(rest) // MIN_BIN_ROWS, 1, NUM_BINS))
        if len(rest):
            edges = np.unique(np.quantile(rest, np.arange(1, num_bins) / num_bins, method="lower"))
    size = len(edges) + 1 + len(atoms) + 1
    return Bins(column, size, np.arange(size), size, edges, atoms, low=low, high=high)


def _category_bins(column: Column, data: pa.ChunkedArray) -> Bins:
    codes, values = texts(data)
    counts = np.bincount(codes[codes != MISSING], minlength=len(values))
    # Ties by name, so that the order does not depend on which part was read first.
    order = sorted((i for i in range(len(values)) if counts[i]), key=lambda i: (-counts[i], values[i]))
    level_counts = counts[np.array(order, dtype=np.int64)].astype(np.int64)
    # A level of a few rows is sampling noise by itself.
    kept = min(MAX_LEVELS, int(np.count_nonzero(level_counts >= MIN_LEVEL_ROWS)))
    # Pairs have the product of both sizes: 100 levels each would leave no row a cell.
    shown = min(kept, MAX_PAIR_LEVELS)
    coarse = np.concatenate([np.minimum(np.arange(kept + 1), shown), [shown + 1]]).astype(np.int64)
    levels = {values[i]: rank for rank, i in enumerate(order)}
    return Bins(column, kept + 2, coarse, shown + 2, levels=levels, kept=kept, level_counts=level_counts)


def bin_numbers(bins: Bins, values: Floats) -> Ints:
    """int64 (N,): the bin of each number; infinite values fall into the outer bins."""
    # Values below and above all training values fall into the outer bins, so no row is lost.
    codes = np.searchsorted(bins.edges, values, side="left")
    if len(bins.atoms):
        place = np.minimum(np.searchsorted(bins.atoms, values), len(bins.atoms) - 1)
        codes = np.where(bins.atoms[place] == values, len(bins.edges) + 1 + place, codes)
    missing: Bools = np.isnan(values)
    codes[missing] = bins.size - 1
    return codes.astype(np.int64, copy=False)


def bin_levels(bins: Bins, codes: Ints, values: list[str]) -> Ints:
    """int64 (N,): the bin of each category given as codes into `values`."""
    # A level that training does not have shares the bin of the rare ones.
    ranks = np.array([*(bins.levels.get(value, bins.kept) for value in values), 0], dtype=np.int64)
    table = np.minimum(ranks, bins.kept)
    table[-1] = bins.size - 1
    return table[codes]


def chi_squared(counts: Ints) -> tuple[float, Floats]:
    """Pearson's statistic of independence and the part of the table it is of; 0 where a side is constant."""
    # A level that occurs on neither side would divide by an expectation of 0.
    table = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0].astype(np.float64)
    if min(table.shape) < 2:
        return 0.0, table
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    return float(((table - expected) ** 2 / expected).sum()), table


def cramers_v(counts: Ints) -> float:
    """Bias-corrected Cramer's V (Bergsma 2013, eq. 8 to 10); 0 where a side is constant."""
    chi2, table = chi_squared(counts)
    total, (rows, columns) = table.sum(), table.shape
    if min(rows, columns) < 2:
        return 0.0
    # Without the correction V grows with the number of cells: many-level columns would take all places.
    corrected = max(0.0, chi2 / total - (rows - 1) * (columns - 1) / (total - 1))
    rows_c = rows - (rows - 1) ** 2 / (total - 1)
    columns_c = columns - (columns - 1) ** 2 / (total - 1)
    smallest = min(rows_c, columns_c) - 1
    return float(min(1.0, np.sqrt(corrected / smallest))) if smallest > 0 else 0.0


def count_pair(left: Ints, right: Ints, left_size: int, right_size: int) -> Ints:
    """int64 (left_size, right_size): how often each pair of bins occurs together."""
    counts = np.bincount(left * right_size + right, minlength=left_size * right_size)
    return counts.reshape(left_size, right_size)
