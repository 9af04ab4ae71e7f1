"""Strength of dependence between two columns of any kind, on one scale from -1 or 0 to 1."""

import numpy as np
import pyarrow as pa
from scipy import stats

from synthmill.metrics.lib.binning import Bins, bin_levels, chi_squared, count_pair
from synthmill.metrics.lib.columns import Floats, floats, texts


def spearman(a: Floats, b: Floats) -> float:
    """Rank correlation of the rows where both are present; 0 where a side is constant."""
    both = np.isfinite(a) & np.isfinite(b)
    first, second = stats.rankdata(a[both]), stats.rankdata(b[both])
    if len(first) < 3 or first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def correlation_ratio(codes: Floats, values: Floats, size: int) -> float:
    """eta: root of the share of the ranks' variance that the group means explain; 0 where there is none."""
    present = np.isfinite(values)
    groups, ranks = codes[present].astype(np.int64), stats.rankdata(values[present])
    # Ranks rather than values, as in Spearman: one outlier must not decide the strength.
    if len(ranks) < 3 or ranks.std() == 0:
        return 0.0
    counts = np.bincount(groups, minlength=size)
    sums = np.bincount(groups, weights=ranks, minlength=size)
    used = counts > 0
    between = float((counts[used] * (sums[used] / counts[used] - ranks.mean()) ** 2).sum())
    return float(np.sqrt(between / ((ranks - ranks.mean()) ** 2).sum()))


def cramers_v_plain(left: Floats, right: Floats, left_size: int, right_size: int) -> float:
    """Cramer's V without bias correction (as scipy.stats.contingency.association)."""
    counts = count_pair(left.astype(np.int64), right.astype(np.int64), left_size, right_size)
    chi2, table = chi_squared(counts)
    return 0.0 if min(table.shape) < 2 else float(np.sqrt(chi2 / table.sum() / (min(table.shape) - 1)))


def association(a: Bins, b: Bins, a_values: Floats, b_values: Floats) -> float:
    """Spearman for two numbers, Cramer's V for two categories, the ranks' correlation ratio otherwise."""
    numeric = (a.column.role == "numeric", b.column.role == "numeric")
    if all(numeric):
        return spearman(a_values, b_values)
    if not any(numeric):
        return cramers_v_plain(a_values, b_values, a.coarse_size, b.coarse_size)
    if numeric[0]:
        return correlation_ratio(b_values, a_values, b.coarse_size)
    return correlation_ratio(a_values, b_values, a.coarse_size)


def column_values(bins: Bins, data: pa.ChunkedArray) -> Floats:
    """What `association` reads: numbers as they are, categories as their coarse bin."""
    if bins.column.role == "numeric":
        return floats(data)
    return bins.coarse[bin_levels(bins, *texts(data))].astype(np.float64)
