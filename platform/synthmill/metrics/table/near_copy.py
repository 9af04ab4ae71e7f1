"""Synthetic rows suspiciously close to training rows, compared with the holdout at three scales."""

from typing import Any

import numpy as np

from synthmill.metrics.base import Estimate, Result
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
            return self.unavailable("too few holdout rows occur once to tell copies from chance")
        method = "rows that occur once, equal sides; exact hypergeometric test at 3 scales, Bonferroni"
        return self.result(method=method, **copy_fields(pair))


def copy_fields(pair: SinglePair) -> dict[str, Any]:
    """The test on an equal number of rows a side, as the fields of a result."""
    train, holdout, size = pair.train, pair.holdout, len(pair.train)
    between = np.concatenate([nearest(holdout, train)[0][:, 0], nearest(train, holdout)[0][:, 0]])
    scales = []
    # Copies show at the smallest scale, noisy copies at a larger one; three cost a factor of 3 in p only.
    for q in SCALES:
        tau = float(np.quantile(between, q, method="lower"))
        a, b = (
            int(np.count_nonzero(distances[:, 0] < tau if tau > 0 else distances[:, 0] <= 0))
            for distances in (pair.from_train, pair.from_holdout)
        )
        p = excess_p(a, b, size, size)
        scales.append({"quantile": q, "tau": tau, "train": a, "holdout": b, "p": p})
    best = min(scales, key=lambda scale: scale["p"])
    a, b = int(best["train"]), int(best["holdout"])
    return {
        "value": min(1.0, best["p"] * len(SCALES)),
        "reference": 0.5,
        "n": {"train": size, "holdout": size, "synthetic": len(pair.synthetic)},
        "gate_n": min(size, len(pair.synthetic)),
        "aspects": {
            # Half a row added to both, so that the ratio is finite where no holdout row is near.
            "ratio": Estimate(value=(a + 0.5) / (b + 0.5), reference=1.0),
            "train_share": Estimate(value=a / size, reference=b / size),
        },
        "details": {"scales": scales},
    }
