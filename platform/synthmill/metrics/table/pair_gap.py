"""How far pairs of columns are from the training rows, beyond sampling noise. Reads every row."""

import numpy as np

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.columns import Ints
from synthmill.metrics.lib.gaps import gaps, mean_interval, worst_items
from synthmill.metrics.lib.pairs import MAX_PAIRS, looked_at, sampled_pairs
from synthmill.metrics.lib.table_evidence import BIN_NOTE, TableEvidence, TableMetric
from synthmill.metrics.lib.view import PartView

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
        real, synthetic = evidence.real, evidence.totals.counts
        pairs = list(real.plan.pairs)
        if not pairs:
            return self.missing("not_applicable", "a single column has no pairs")
        train = [real.train_totals.counts.pairs[pair] for pair in pairs]
        found = gaps(train, [synthetic.pairs[pair] for pair in pairs])
        held = real.holdout_totals
        reference = None if held is None else gaps(train, [held.counts.pairs[pair] for pair in pairs]).values
        strength = np.array([real.plan.association[pair] for pair in pairs])
        top = np.argsort(-strength, kind="stable")[: max(MIN_TOP_PAIRS, len(pairs) // 4)]
        views = (PartView(evidence.table("train", 50_000), real.plan), PartView(evidence.sample, real.plan))
        rows = (real.train.num_rows, synthetic.rows)
        confidence = evidence.settings.confidence

        def codes(view: PartView, item: int) -> Ints:
            a, b = pairs[item]
            return view.coarse(a) * real.plan.bins[b].coarse_size + view.coarse(b)

        worst = [int(top[i]) for i in worst_items(found.values[top])]
        low, high = mean_interval(found, [int(i) for i in top], views, codes, rows, confidence)
        dependence = float(np.mean([distance_from_independence(train[int(i)]) for i in top]))
        scale = dependence if dependence > MIN_STRENGTH else np.inf
        return self.result(
            value=float(found.values[top].mean()),
            ci=(low, high),
            reference=None if reference is None else float(reference[top].mean()),
            n={"train": rows[0], "synthetic": rows[1], "pairs": len(top), **sampled_pairs(real.plan)},
            gate_n=min(rows),
            method=(
                f"every row; {len(top)} most associated of {len(pairs)} counted pairs (limit"
                f" {MAX_PAIRS}{looked_at(real.plan)});"
                f" {BIN_NOTE}; delta-method interval"
            ),
            aspects={
                "worst_decile": Estimate(
                    value=float(found.values[worst].mean()),
                    ci=mean_interval(found, worst, views, codes, rows, confidence),
                    reference=(
                        None
                        if reference is None
                        else float(np.sort(reference[top])[::-1][: len(worst)].mean())
                    ),
                ),
                "lost_share": Estimate(
                    value=float(found.values[top].mean()) / scale,
                    ci=(low / scale, high / scale),
                    reference=None if reference is None else float(reference[top].mean()) / scale,
                ),
                "all_pairs": Estimate(
                    value=float(found.values.mean()),
                    reference=None if reference is None else float(reference.mean()),
                ),
            },
            per_column={f"{a}|{b}": float(value) for (a, b), value in zip(pairs, found.values, strict=True)},
            details={
                "dependence": dependence,
                "top_pairs": [f"{pairs[int(i)][0]}|{pairs[int(i)][1]}" for i in top],
            },
        )


def distance_from_independence(counts: Ints) -> float:
    """Total variation between a contingency table and the product of its margins, less what sampling noise
    gives; at least 0."""
    total = counts.sum()
    product = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / max(total, 1) ** 2
    found = 0.5 * float(np.abs(counts / max(total, 1) - product).sum())
    noise = 0.5 * float(np.sqrt(2 / np.pi * product * (1 - product) / max(total, 1)).sum())
    return max(0.0, found - noise)
