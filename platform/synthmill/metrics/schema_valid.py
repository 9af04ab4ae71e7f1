"""Share of synthetic rows that could be rows of this table at all. Reads every row."""

from synthmill.metrics._evidence import Evidence
from synthmill.metrics._intervals import clopper_pearson
from synthmill.metrics.base import Metric, Result


class SchemaValid(Metric):
    """1 - rows with an impossible cell / rows.

    Impossible: missing where no real row misses, infinite, a fraction in a whole-number column, a level outside a closed
    vocabulary (declared, or one where every level has at least 5 real rows). Column names and types are checked before.
    """

    name = "schema.valid_share"
    title = "Valid rows"
    axis = "schema"
    goal = "maximize"
    bounds = (0.0, 1.0)
    profile = "quick"
    advice = (
        "Look at the columns listed with this figure: values of a wrong kind come from the codec or from a later step that changed types."
    )

    def compute(self, evidence: Evidence) -> Result:
        counts = evidence.totals.counts
        valid = counts.rows - counts.invalid_rows
        holdout = evidence.real.holdout_totals
        reference = 1 - holdout.counts.invalid_rows / holdout.counts.rows if holdout and holdout.counts.rows else None
        return self.result(
            value=valid / counts.rows,
            ci=clopper_pearson(valid, counts.rows, evidence.settings.confidence),
            reference=reference,
            n={"synthetic": counts.rows},
            gate_n=counts.rows,
            method="every row; Clopper-Pearson interval",
            per_column={name: 1 - bad / counts.rows for name, bad in sorted(counts.invalid.items())},
        )
