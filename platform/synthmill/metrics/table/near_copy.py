"""Synthetic rows suspiciously close to training rows, held against the holdout at three scales."""

from dataclasses import dataclass

import numpy as np

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.columns import Floats
from synthmill.metrics.lib.intervals import excess_p
from synthmill.metrics.lib.neighbours import nearest
from synthmill.metrics.lib.singles import SinglePair, single_pair
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric

SCALES = (0.001, 0.003, 0.01)


class NearCopy(TableMetric):
    """Smallest of three one-sided p-values times three (Bonferroni).

    tau_q is the q-quantile of the distances between train and holdout rows (nearest neighbours, both ways,
    pooled), q = 0.1, 0.3 and 1%. At each scale a = train rows and b = holdout rows with a synthetic row
    nearer than tau (nearer or equal where tau is 0, as in discrete tables: exact matches). Equal numbers of
    distinct rows a side, and everything but a and b is symmetric in the two, so without copying a is
    hypergeometric given a + b: an exact test, per real row.
    """

    name = "privacy.near_copy_pvalue"
    title = "Near copies"
    question = "Do synthetic rows come suspiciously close to training rows?"
    axis = "privacy"
    goal = "maximize"
    bounds = (0.0, 1.0)
    needs = ("holdout",)
    profile = "quick"
    advice = (
        "The generator memorises. Do not publish; train a smaller model, stop earlier, or use more rows."
        " Filtering rows that are near training rows hides the symptom and must be judged on a fresh holdout."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        pair = single_pair(evidence)
        if pair is None:
            return self.missing("unavailable", "too few holdout rows occur once to tell copies from chance")
        size, synthetic = len(pair.train), pair.synthetic
        found = near_copies(pair)
        a, b = found.counts[found.best]
        return self.result(
            value=found.p,
            reference=0.5,
            n={"train": size, "holdout": size, "synthetic": len(synthetic)},
            gate_n=min(size, len(synthetic)),
            method="rows that occur once, equal sides; exact hypergeometric test at 3 scales, Bonferroni",
            aspects={
                "ratio": Estimate(value=(a + 0.5) / (b + 0.5), reference=1.0),
                "train_share": Estimate(value=a / size, reference=b / size),
            },
            details={"scales": found.rows()},
        )


@dataclass(frozen=True)
class NearCopies:
    """The test at each of SCALES."""

    taus: tuple[float, ...]
    counts: tuple[tuple[int, int], ...]
    """Train and holdout rows with a synthetic row nearer than tau."""
    p_values: tuple[float, ...]

    @property
    def best(self) -> int:
        """The scale with the smallest p."""
        return int(np.argmin(self.p_values))

    @property
    def p(self) -> float:
        """The smallest p, corrected for the number of scales."""
        return min(1.0, self.p_values[self.best] * len(self.p_values))

    def rows(self) -> list[dict[str, float]]:
        """One record a scale, for the report."""
        both = zip(SCALES, self.taus, self.counts, self.p_values, strict=True)
        return [{"quantile": q, "tau": tau, "train": a, "holdout": b, "p": p} for q, tau, (a, b), p in both]


def near_copies(pair: SinglePair) -> NearCopies:
    """The test on an equal number of rows a side."""
    train, holdout = pair.train, pair.holdout
    between = np.concatenate([nearest(holdout, train)[0][:, 0], nearest(train, holdout)[0][:, 0]])
    taus = tuple(float(np.quantile(between, q, method="lower")) for q in SCALES)
    counts = tuple(
        (_within(pair.from_train[:, 0], tau), _within(pair.from_holdout[:, 0], tau)) for tau in taus
    )
    return NearCopies(taus, counts, tuple(excess_p(a, b, len(train), len(holdout)) for a, b in counts))


def _within(distances: Floats, tau: float) -> int:
    return int(np.count_nonzero(distances < tau if tau > 0 else distances <= 0))
