"""Kernel distance of the whole joint distribution."""

from dataclasses import dataclass

import numpy as np

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.intervals import normal_interval, u_statistic
from synthmill.metrics.lib.neighbours import Points
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric

MAX_ROWS = 4_000
MIN_ROWS = 10


class Mmd(TableMetric):
    """Unbiased squared MMD, RBF kernel, median heuristic (Gretton et al. 2012, eq. 3), from train."""

    name = "fidelity.mmd2"
    title = "Kernel distance (MMD)"
    question = "How far apart are the two tables as a whole?"
    axis = "fidelity"
    goal = "minimize"
    bounds = (None, 2.0)
    advice = "The joint distribution is off; the marginal and pair gaps say where."

    def compute(self, evidence: TableEvidence) -> Result:
        limit, real = evidence.settings.limits.neighbour_rows, evidence.real
        size = min(real.train.num_rows, evidence.sample.num_rows, limit or MAX_ROWS, MAX_ROWS)
        if size < MIN_ROWS or not real.space.axes:
            return self.unavailable(f"{size} rows a side are too few; {MIN_ROWS} are needed")
        train = evidence.points("train", size)
        # From train alone: a width that the synthetic rows could change would excuse them.
        width = median_distance(train)
        synthetic = mmd2(train, evidence.points("synthetic", size), width)
        holdout = None
        if real.holdout is not None and real.holdout.num_rows >= MIN_ROWS:
            held_size = min(size, real.holdout.num_rows)
            holdout = mmd2(train[:held_size], evidence.points("holdout", held_size), width)
        aspects = {}
        if holdout is not None:
            # In standard errors of real rows, as the plain value has no scale.
            error = float(np.sqrt(max(holdout.variance, 1e-12)))
            aspects["excess_in_standard_errors"] = Estimate(
                value=(synthetic.value - holdout.value) / error, reference=0.0
            )
        return self.result(
            value=synthetic.value,
            ci=normal_interval(synthetic.value, synthetic.variance, evidence.confidence),
            reference=None if holdout is None else holdout.value,
            n={"train": size, "synthetic": size},
            gate_n=size,
            method=(
                f"at most {MAX_ROWS} seeded rows a side; variance of the U-statistic; reference: train"
                " against holdout"
            ),
            aspects=aspects,
        )


@dataclass(frozen=True)
class Discrepancy:
    """An estimate and its variance."""

    value: float
    variance: float


def median_distance(points: Points) -> float:
    """Median distance between rows (of the first 1,000), 1 where it is 0."""
    head = points[:1000]
    gaps = _squared(head, head)[np.triu_indices(len(head), 1)]
    return float(np.sqrt(np.median(gaps))) or 1.0


def mmd2(x: Points, y: Points, width: float) -> Discrepancy:
    """U-statistic over equal numbers of rows, and its variance."""
    xx, yy, xy = (_kernel(a, b, width) for a, b in ((x, x), (y, y), (x, y)))
    h = xx + yy - xy - xy.T
    # Pairs of a row with itself are what makes the plain average biased.
    np.fill_diagonal(h, 0.0)
    return Discrepancy(*u_statistic(h))


def _kernel(a: Points, b: Points, width: float) -> Points:
    # In place and in float32: 4,000 rows a side are matrices of 64 MB each.
    gaps = _squared(a, b)
    gaps *= np.float32(-0.5 / width**2)
    return np.exp(gaps, out=gaps)


def _squared(a: Points, b: Points) -> Points:
    gaps = a @ (b.T * np.float32(-2))
    gaps += np.einsum("nd,nd->n", a, a)[:, None]
    gaps += np.einsum("nd,nd->n", b, b)
    return np.maximum(gaps, 0.0, out=gaps)
