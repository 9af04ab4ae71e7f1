"""How far single columns are from the training rows, beyond sampling noise. Reads every row."""

import numpy as np

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.columns import Ints
from synthmill.metrics.lib.gaps import gaps, mean_interval, worst_items
from synthmill.metrics.lib.table_evidence import BIN_NOTE, TableEvidence, TableMetric
from synthmill.metrics.lib.view import PartView


class MarginalGap(TableMetric):
    """Mean over columns of TV(train, synthetic) - its expectation under sampling noise (see `_gaps`); worst
    decile as an aspect.

    After the accuracy of mostlyai-qa (arXiv 2504.01908) and its `accuracy_max`.
    """

    name = "tabular.marginal_gap"
    title = "Column gap"
    question = "Is each column distributed as in the real rows?"
    axis = "fidelity"
    goal = "minimize"
    bounds = (-1.0, 1.0)
    profile = "quick"
    advice = (
        "Look at the worst columns: heavy tails, many levels and point masses are the usual causes. "
        "Then train longer or with a larger model."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        real, synthetic = evidence.real, evidence.totals.counts
        names = list(real.plan.bins)
        if not names:
            return self.missing("unavailable", "the table has only identifier columns")
        train = [real.train_totals.counts.marginals[name] for name in names]
        found = gaps(train, [synthetic.marginals[name] for name in names])
        held = real.holdout_totals
        reference = (
            None if held is None else gaps(train, [held.counts.marginals[name] for name in names]).values
        )
        views = (PartView(evidence.table("train", 50_000), real.plan), PartView(evidence.sample, real.plan))
        rows = (real.train.num_rows, synthetic.rows)
        confidence = evidence.settings.confidence

        def codes(view: PartView, item: int) -> Ints:
            return view.codes(names[item])

        worst, every = worst_items(found.values), range(len(names))
        return self.result(
            value=float(found.values.mean()),
            ci=mean_interval(found, every, views, codes, rows, confidence),
            reference=None if reference is None else float(reference.mean()),
            n={"train": rows[0], "synthetic": rows[1]},
            gate_n=min(rows),
            method=f"every row; {BIN_NOTE}; delta-method interval",
            aspects={
                "worst_decile": Estimate(
                    value=float(found.values[worst].mean()),
                    ci=mean_interval(found, worst, views, codes, rows, confidence),
                    reference=None
                    if reference is None
                    else float(np.sort(reference)[::-1][: len(worst)].mean()),
                )
            },
            per_column={name: float(value) for name, value in zip(names, found.values, strict=True)},
        )
