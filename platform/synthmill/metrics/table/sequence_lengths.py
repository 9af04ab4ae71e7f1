"""Are sequences as long as real ones?"""

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.sequences import MIN_SEQUENCES, TOO_FEW, largest_distance, sides_of
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric


class SequenceLengths(TableMetric):
    """Largest difference of the distribution functions of lengths, train against synthetic."""

    name = "sequence.lengths"
    title = "Lengths of sequences"
    question = "Do sequences have as many rows as real ones?"
    axis = "fidelity"
    goal = "minimize"
    bounds = (0.0, 1.0)
    needs = ("sequences",)
    profile = "quick"
    advice = (
        "Sequences end too soon or too late. Train for longer, or set data.max_length where a few are cut."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        sides = evidence.once(sides_of)
        if sides.fewest < MIN_SEQUENCES:
            return self.unavailable(TOO_FEW)
        real, made, other = sides.train, sides.synthetic, sides.reference
        means = real.lengths.mean(), None if other is None else other.lengths.mean()
        return self.result(
            value=largest_distance(real.lengths, made.lengths),
            reference=None if other is None else largest_distance(real.lengths, other.lengths),
            n=sides.n,
            gate_n=sides.fewest,
            method="Kolmogorov-Smirnov distance over at most 2,000 sequences a side; reference: train against"
            " holdout",
            aspects={
                "mean_ratio": Estimate(
                    value=float(made.lengths.mean() / means[0]),
                    reference=None if means[1] is None else float(means[1] / means[0]),
                )
            },
        )
