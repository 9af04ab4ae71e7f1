"""Distance between binned distributions beyond what sampling noise explains: the core of the marginal and the
pair gap.

gap = TV(train, synthetic) - E[TV of two samples of one distribution of these sizes], so 0 is "as close as
real data", whatever the number of rows or levels; it may be slightly negative. The interval is the delta
method: each row's influence on the mean of the gaps is half the sum of the signs of its bins' differences, so
columns need not be independent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from synthmill.metrics.lib.columns import Floats, Ints
from synthmill.metrics.lib.intervals import Interval, expected_variation, normal_interval, total_variation
from synthmill.metrics.lib.view import PartView

WORST_SHARE = 0.1


@dataclass(frozen=True)
class Gaps:
    """The gap of each item (a column or a pair), in order."""

    values: Floats
    signs: tuple[Floats, ...]
    """For each item, the sign of synthetic minus train in each of its bins."""


def gaps(train: Sequence[Ints], other: Sequence[Ints]) -> Gaps:
    """Gaps of aligned histograms."""
    values, signs = [], []
    for left, right in zip(train, other, strict=True):
        n_left, n_right = int(left.sum()), int(right.sum())
        values.append(total_variation(left, right) - expected_variation(left, n_left, n_right))
        signs.append(np.sign(right / max(n_right, 1) - left / max(n_left, 1)).ravel())
    return Gaps(np.array(values), tuple(signs))


def worst_items(values: Floats) -> list[int]:
    """Indices of the worst tenth, at least one, worst first."""
    count = max(1, ceil(WORST_SHARE * len(values)))
    return [int(i) for i in np.argsort(-values, kind="stable")[:count]]


Codes = Callable[[PartView, int], Ints]


def mean_interval(
    found: Gaps,
    items: Sequence[int],
    views: tuple[PartView, PartView],
    codes: Codes,
    rows: tuple[int, int],
    confidence: float,
) -> Interval:
    """Interval of the mean gap over `items`; `views` hold (samples of) train and synthetic, of which there
    are `rows`."""
    variance = 0.0
    for view, num_rows in zip(views, rows, strict=True):
        influence = np.zeros(view.num_rows)
        for item in items:
            influence += 0.5 * found.signs[item][codes(view, item)]
        variance += float((influence / len(items)).var()) / num_rows
    return normal_interval(float(found.values[list(items)].mean()), variance, confidence)
