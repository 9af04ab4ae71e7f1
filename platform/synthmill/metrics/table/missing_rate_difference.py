"""Are values missing as often as in the training rows? Reads every row."""

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.intervals import rate_difference
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric


class MissingRateDifference(TableMetric):
    """Largest |missing share synthetic - missing share train| over columns."""

    name = "tabular.missing_rate_diff"
    title = "Missing rates"
    question = "Are as many values missing as in the real rows?"
    axis = "fidelity"
    goal = "minimize"
    bounds = (0.0, 1.0)
    profile = "quick"
    advice = (
        "The pattern of missing values is off in the columns listed first; check that the codec keeps it and"
        " the model learns it."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        real, counts = evidence.real, evidence.totals.counts
        names = list(real.plan.bins)
        if not names:
            return self.not_applicable("the table has only identifier columns")
        train, holdout = real.train_totals.counts, real.holdout_totals
        # Missing is the last bin of every column.
        missing = {name: (int(counts.marginals[name][-1]), int(train.marginals[name][-1])) for name in names}
        differences = {name: a / counts.rows - b / train.rows for name, (a, b) in missing.items()}
        worst = max(names, key=lambda name: abs(differences[name]))
        ours, theirs = missing[worst]
        low, high = rate_difference(ours, counts.rows, theirs, train.rows, evidence.confidence)
        # The value is an absolute difference, and so are the ends; an interval across 0 reaches down to it.
        ends = (abs(low), abs(high))
        reference = None
        if holdout is not None:
            h = holdout.counts
            reference = max(abs(int(h.marginals[n][-1]) / h.rows - missing[n][1] / train.rows) for n in names)
        return self.result(
            value=abs(differences[worst]),
            ci=(0.0 if low <= 0 <= high else min(ends), max(ends)),
            reference=reference,
            n={"train": train.rows, "synthetic": counts.rows},
            gate_n=min(train.rows, counts.rows),
            method="every row; Newcombe interval of the worst column, which was chosen for being the worst",
            aspects={"mean": Estimate(value=sum(abs(d) for d in differences.values()) / len(names))},
            per_column={name: abs(value) for name, value in differences.items()},
        )
