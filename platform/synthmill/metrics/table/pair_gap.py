"""How far pairs of columns are from the training rows, beyond sampling noise. Reads every row."""

import numpy as np

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.columns import Ints
from synthmill.metrics.lib.gaps import gaps
from synthmill.metrics.lib.pairs import MAX_PAIRS, looked_at, sampled_pairs
from synthmill.metrics.lib.table_evidence import BIN_NOTE, TableEvidence, TableMetric

MIN_TOP_PAIRS = 10
MIN_STRENGTH = 0.01


class PairGap(TableMetric):
    """The gap of `tabular.marginal_gap` on contingency tables, over the most associated quarter of the pairs
    (at least 10).

    Independent pairs are easy and would dilute the figure; association is bias-corrected Cramer's V in the
    training rows. Aspect `lost_share`: the same gap over the gap that independent columns would have, so that
    a table of weak dependence is judged as one of strong; 0 like real rows, 1 no better than independent
    columns.
    """

    name = "tabular.pair_gap"
    title = "Pair gap"
    question = "Do columns depend on each other as in the real rows?"
    axis = "fidelity"
    goal = "minimize"
    bounds = (-1.0, 1.0)
    profile = "quick"
    advice = (
        "The generator misses dependence between columns. Train longer, or use a model that learns whole"
        " rows."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        plan, train = evidence.real.plan, evidence.real.train_totals.counts
        pairs = list(plan.pairs)
        if not pairs:
            return self.not_applicable("a single column has no pairs")
        gap = gaps(
            evidence,
            lambda counts: [counts.pairs[pair] for pair in pairs],
            lambda view, item: (
                view.coarse(pairs[item][0]) * plan.bins[pairs[item][1]].coarse_size
                + view.coarse(pairs[item][1])
            ),
        )
        strength = np.array([plan.association[pair] for pair in pairs])
        order = np.argsort(-strength, kind="stable")[: max(MIN_TOP_PAIRS, len(pairs) // 4)]
        top = [int(i) for i in order]
        mean = gap.mean(top)
        assert mean.value is not None
        assert mean.ci is not None
        # Weak dependence can be lost altogether without a gap of 0.15, so it has a scale of its own; below
        # MIN_STRENGTH there is nothing to lose, and the share is 0.
        dependence = float(np.mean([distance_from_independence(train.pairs[pairs[i]]) for i in top]))
        scale = dependence if dependence > MIN_STRENGTH else np.inf
        return self.result(
            **mean.model_dump(),
            n={
                "train": gap.rows[0],
                "synthetic": gap.rows[1],
                "pairs": len(top),
                **sampled_pairs(plan),
            },
            gate_n=min(gap.rows),
            method=(
                f"every row; {len(top)} most associated of {len(pairs)} counted pairs (limit"
                f" {MAX_PAIRS}{looked_at(plan)}); {BIN_NOTE}; delta-method interval"
            ),
            aspects={
                "worst_decile": gap.worst(top),
                "lost_share": Estimate(
                    value=mean.value / scale,
                    ci=(mean.ci[0] / scale, mean.ci[1] / scale),
                    reference=None if mean.reference is None else mean.reference / scale,
                ),
                "all_pairs": Estimate(
                    value=float(gap.values.mean()),
                    reference=None if gap.reference is None else float(gap.reference.mean()),
                ),
            },
            per_column={f"{a}|{b}": float(value) for (a, b), value in zip(pairs, gap.values, strict=True)},
            details={"dependence": dependence, "top_pairs": [f"{pairs[i][0]}|{pairs[i][1]}" for i in top]},
        )


def distance_from_independence(counts: Ints) -> float:
    """Total variation of a table from the product of its margins, less sampling noise; at least 0."""
    total = counts.sum()
    product = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / max(total, 1) ** 2
    distance = 0.5 * float(np.abs(counts / max(total, 1) - product).sum())
    noise = 0.5 * float(np.sqrt(2 / np.pi * product * (1 - product) / max(total, 1)).sum())
    return max(0.0, distance - noise)
