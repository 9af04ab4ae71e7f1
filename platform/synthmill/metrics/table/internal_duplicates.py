"""Rows that repeat another synthetic row, beyond what real data of the same size does. Reads every row."""

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.intervals import normal_interval
from synthmill.metrics.lib.rows import duplicate_share
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric


class InternalDuplicates(TableMetric):
    """Duplicate share of the synthetic rows minus that of the training rows, both thinned to the smaller
    table's size.

    Thinning is exact (rarefaction, see `_rows.duplicate_share`): a larger table has more duplicates by chance
    alone.
    """

    name = "dup.internal"
    title = "Internal duplicates"
    question = "Does the generator repeat itself?"
    axis = "diversity"
    goal = "minimize"
    bounds = (-1.0, 1.0)
    profile = "quick"
    advice = (
        "The generator repeats itself (mode collapse). Look at the category coverage, train with more"
        " regularisation or another seed."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        real, synthetic = evidence.real, evidence.totals.distinct
        train = real.train_totals.distinct
        # A larger table has more duplicates by chance alone.
        size = min(synthetic.rows, train.rows)
        ours, theirs = duplicate_share(synthetic, size), duplicate_share(train, size)
        variance = (ours * (1 - ours) + theirs * (1 - theirs)) / size
        reference = None
        if real.holdout_totals is not None:
            holdout = real.holdout_totals.distinct
            common = min(holdout.rows, train.rows)
            reference = duplicate_share(holdout, common) - duplicate_share(train, common)
        return self.result(
            value=ours - theirs,
            ci=normal_interval(ours - theirs, variance, evidence.confidence),
            reference=reference,
            n={"train": train.rows, "synthetic": synthetic.rows, "compared at": size},
            gate_n=size,
            method="every row; rarefied to equal size; binomial variance of both shares",
            aspects={"share": Estimate(value=ours, reference=theirs)},
        )
