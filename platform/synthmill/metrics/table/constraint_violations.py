"""Rows that break a declared rule between columns. Reads every row."""

from synthmill.metrics.base import Result
from synthmill.metrics.lib.intervals import clopper_pearson
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric


class ConstraintViolations(TableMetric):
    """Share of rows that break the worst of the constraints of the model's recipe and of the gates file."""

    name = "tabular.constraint_violations"
    title = "Constraint violations"
    question = "Do the rows keep the rules you declared?"
    axis = "schema"
    goal = "minimize"
    bounds = (0.0, 1.0)
    needs = ("constraints",)
    profile = "quick"
    advice = (
        "Rows break a rule you declared. If real rows break it too (the reference), the rule is wrong; else"
        " filter or condition on it."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        counts, holdout = evidence.totals.counts, evidence.real.holdout_totals
        worst = max(counts.broken, key=lambda text: counts.broken[text])
        # Both real sides: a rule that real rows break is wrong.
        real = [evidence.real.train_totals.counts, *([holdout.counts] if holdout else [])]
        real_rows = sum(c.rows for c in real)
        return self.result(
            value=counts.broken[worst] / counts.rows,
            ci=clopper_pearson(counts.broken[worst], counts.rows, evidence.confidence),
            reference=max(sum(c.broken[text] for c in real) / real_rows for text in counts.broken),
            n={"synthetic": counts.rows, "real": real_rows},
            gate_n=counts.rows,
            method="every row; Clopper-Pearson interval; reference: the real rows",
            per_column={text: broken / counts.rows for text, broken in counts.broken.items()},
            details={"holds": {text: 1 - broken / counts.rows for text, broken in counts.broken.items()}},
        )
