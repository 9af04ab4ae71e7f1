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

from synthmill.metrics.base import Estimate
from synthmill.metrics.lib.columns import Floats, Ints
from synthmill.metrics.lib.counts import TableCounts
from synthmill.metrics.lib.intervals import expected_variation, normal_interval, total_variation
from synthmill.metrics.lib.table_evidence import TableEvidence
from synthmill.metrics.lib.view import PartView

WORST_SHARE = 0.1
INFLUENCE_ROWS = 50_000
Codes = Callable[[PartView, int], Ints]
"""The bins of an item in the rows of a view."""


@dataclass(frozen=True)
class Gaps:
    """The gap of each item (a column or a pair), in order."""

    values: Floats
    reference: Floats | None
    """The same of the holdout rows."""
    signs: tuple[Floats, ...]
    """For each item, the sign of synthetic minus train in each of its bins."""
    views: tuple[PartView, PartView]
    """Samples of train and of the synthetic rows, of which there are `rows`."""
    rows: tuple[int, int]
    codes: Codes
    confidence: float

    def mean(self, items: Sequence[int]) -> Estimate:
        """Over some items."""
        chosen, variance = list(items), 0.0
        for view, num_rows in zip(self.views, self.rows, strict=True):
            influence = np.zeros(view.num_rows)
            for item in chosen:
                # Half the sign: TV is half the L1 distance, and moves by that much with a row's bin.
                influence += 0.5 * self.signs[item][self.codes(view, item)]
            # The variance of one row's influence is estimated from a sample, that of the mean is of all rows.
            variance += float((influence / len(chosen)).var()) / num_rows
        value = float(self.values[chosen].mean())
        return Estimate(
            value=value,
            ci=normal_interval(value, variance, self.confidence),
            reference=None if self.reference is None else float(self.reference[chosen].mean()),
        )

    def worst(self, items: Sequence[int]) -> Estimate:
        """Over the worst tenth of some items, at least one."""
        among = np.array(items)
        worst = np.argsort(-self.values[among], kind="stable")[: max(1, ceil(WORST_SHARE * len(among)))]
        estimate = self.mean([int(i) for i in among[worst]])
        if self.reference is None:
            return estimate
        # The worst of the holdout's own: the same items would not be chosen for being the worst there.
        reference = np.sort(self.reference[among])[::-1][: len(worst)]
        return estimate.model_copy(update={"reference": float(reference.mean())})


def gaps(evidence: TableEvidence, histograms: Callable[[TableCounts], Sequence[Ints]], codes: Codes) -> Gaps:
    """The gaps of aligned histograms of the counted rows."""
    real, synthetic = evidence.real, evidence.totals.counts
    train = histograms(real.train_totals.counts)
    holdout = real.holdout_totals
    values, signs = _gaps(train, histograms(synthetic))
    return Gaps(
        values,
        None if holdout is None else _gaps(train, histograms(holdout.counts))[0],
        signs,
        (PartView(evidence.table("train", INFLUENCE_ROWS), real.plan), PartView(evidence.sample, real.plan)),
        (real.train.num_rows, synthetic.rows),
        codes,
        evidence.confidence,
    )


def _gaps(train: Sequence[Ints], other: Sequence[Ints]) -> tuple[Floats, tuple[Floats, ...]]:
    values, signs = [], []
    for left, right in zip(train, other, strict=True):
        n_left, n_right = int(left.sum()), int(right.sum())
        # Many levels and few rows alone give a large distance; what chance explains is taken off.
        values.append(total_variation(left, right) - expected_variation(left, n_left, n_right))
        signs.append(np.sign(right / max(n_right, 1) - left / max(n_left, 1)).ravel())
    return np.array(values), tuple(signs)
