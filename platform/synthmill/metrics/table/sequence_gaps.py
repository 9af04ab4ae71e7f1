"""Do rows follow each other as fast as real ones?"""

from synthmill.metrics.base import Result
from synthmill.metrics.lib.sequences import MIN_SEQUENCES, TOO_FEW, largest_distance, sides_of
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric


class SequenceGaps(TableMetric):
    """Largest difference of the distribution functions of the times between neighbouring rows."""

    name = "sequence.gaps"
    title = "Times between rows"
    question = "Does a row come as long after the one before as in real sequences?"
    axis = "fidelity"
    goal = "minimize"
    bounds = (0.0, 1.0)
    needs = ("sequences",)
    profile = "quick"
    advice = "Rows follow each other too fast or too slowly. Train for longer, or with more of data.lags."

    def compute(self, evidence: TableEvidence) -> Result:
        sides = evidence.once(sides_of)
        if sides.train.order is None:
            return self.not_applicable("no column orders the rows, so there are no times between them")
        if sides.fewest < MIN_SEQUENCES or not len(sides.train.gaps):
            return self.unavailable(TOO_FEW)
        real, made, other = sides.train, sides.synthetic, sides.reference
        return self.result(
            value=largest_distance(real.gaps, made.gaps),
            reference=None if other is None else largest_distance(real.gaps, other.gaps),
            n=sides.n,
            gate_n=sides.fewest,
            method="Kolmogorov-Smirnov distance of all gaps of at most 2,000 sequences a side; reference:"
            " train against holdout",
        )
