"""How far single columns are from the training rows, beyond sampling noise. Reads every row."""

from synthmill.metrics.base import Result
from synthmill.metrics.lib.gaps import gaps
from synthmill.metrics.lib.table_evidence import BIN_NOTE, TableEvidence, TableMetric


class MarginalGap(TableMetric):
    """Mean over columns of TV(train, synthetic) - its expectation under sampling noise (see `lib.gaps`);
    worst decile as an aspect.

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
        names = list(evidence.real.plan.bins)
        if not names:
            return self.unavailable("the table has only identifier columns")
        measured = gaps(
            evidence,
            lambda counts: [counts.marginals[name] for name in names],
            lambda view, item: view.codes(names[item]),
        )
        every = range(len(names))
        return self.result(
            **measured.mean(every).model_dump(),
            n={"train": measured.rows[0], "synthetic": measured.rows[1]},
            gate_n=min(measured.rows),
            method=f"every row; {BIN_NOTE}; delta-method interval",
            # A mean hides a dead column, so gates read the worst tenth.
            aspects={"worst_decile": measured.worst(every)},
            per_column={name: float(value) for name, value in zip(names, measured.values, strict=True)},
        )
