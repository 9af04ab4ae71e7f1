"""How far the strength of dependence between columns is from the training rows."""

import numpy as np
import pyarrow as pa
from scipy import stats

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.association import association, column_values
from synthmill.metrics.lib.pairs import looked_at
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric


class CorrelationDifference(TableMetric):
    """Largest |rho train - rho synthetic| over the counted pairs.

    Spearman for two numbers, Cramer's V for two categories, the correlation ratio of ranks for one of each.
    """

    name = "tabular.corr_diff"
    title = "Correlation difference"
    question = "Is any relation between two columns lost or made up?"
    axis = "fidelity"
    goal = "minimize"
    bounds = (0.0, 2.0)
    advice = (
        "A dependence is missing or reversed in the pairs listed first; tabular.pair_gap says how much that"
        " matters."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        pairs, limit = evidence.real.plan.pairs, evidence.settings.limits.classifier_rows
        if not pairs:
            return self.not_applicable("a single column has no pairs")
        train, fake = evidence.table("train", limit), evidence.table("synthetic", limit)
        ours = strengths(evidence, train)
        theirs = strengths(evidence, fake)
        # The largest, because one lost relation is a fault that a mean over 300 pairs hides.
        gaps = np.abs(theirs - ours)
        worst = int(np.argmax(gaps))
        reference = None
        if evidence.real.holdout is not None:
            reference = float(np.abs(strengths(evidence, evidence.table("holdout", limit)) - ours).max())
        # The largest of up to 300 differences is large by chance; Bonferroni allows for the choice. It is too
        # narrow all the same for sparse columns, so the gate compares with the holdout.
        z = float(stats.norm.ppf(1 - (1 - evidence.confidence) / (2 * len(pairs))))
        half = z * float(
            np.sqrt(
                (1 - ours[worst] ** 2) ** 2 / train.num_rows + (1 - theirs[worst] ** 2) ** 2 / fake.num_rows
            )
        )
        return self.result(
            value=float(gaps[worst]),
            ci=(max(0.0, float(gaps[worst]) - half), float(gaps[worst]) + half),
            reference=reference,
            n={"train": train.num_rows, "synthetic": fake.num_rows, "pairs": len(pairs)},
            gate_n=min(train.num_rows, fake.num_rows),
            method=(
                "seeded sample; large-sample variance (1 - rho^2)^2 / n, interval corrected for the choice"
                f" among {len(pairs)} pairs{looked_at(evidence.real.plan)}"
            ),
            aspects={"mean": Estimate(value=float(gaps.mean()))},
            per_column={f"{a}|{b}": float(gap) for (a, b), gap in zip(pairs, gaps, strict=True)},
        )


def strengths(evidence: TableEvidence, table: pa.Table) -> np.ndarray:
    """(pairs,): the strength of every counted pair in a table."""
    bins = evidence.real.plan.bins
    values = {
        name: column_values(bins[name], table[name])
        for name in {n for pair in evidence.real.plan.pairs for n in pair}
    }
    return np.array(
        [association(bins[a], bins[b], values[a], values[b]) for a, b in evidence.real.plan.pairs]
    )
