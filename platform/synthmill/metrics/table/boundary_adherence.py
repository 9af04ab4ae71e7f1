"""Do numbers stay inside the range of the training rows? Reads every row."""

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.intervals import wilson
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric


class BoundaryAdherence(TableMetric):
    """Share of present numbers inside [min, max] of the training rows, in the worst column.

    Clipping scores 1 and honest extrapolation less, so gates only warn. Unlike SDMetrics, missing values do
    not count.
    """

    name = "tabular.boundary_adherence"
    title = "Numbers within range"
    question = "Do numbers stay within the range that was seen in real rows?"
    axis = "schema"
    goal = "maximize"
    bounds = (0.0, 1.0)
    profile = "quick"
    advice = (
        "Numbers leave the range of the training rows in the columns listed first. State public bounds in a"
        " schema file."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        real, counts = evidence.real, evidence.totals.counts
        present = {name: counts.rows - int(counts.marginals[name][-1]) for name in counts.out_of_bounds}
        inside = {n: present[n] - outside for n, outside in counts.out_of_bounds.items() if present[n]}
        if not inside:
            return self.not_applicable("no numeric column has values")
        shares = {name: good / present[name] for name, good in inside.items()}
        # The worst column: one column out of range is a fault however many are not.
        worst = min(shares, key=lambda name: shares[name])
        reference = None
        if real.holdout_totals is not None:
            h = real.holdout_totals.counts
            reference = min(
                1 - h.out_of_bounds[name] / max(1, h.rows - int(h.marginals[name][-1]))
                for name in h.out_of_bounds
            )
        return self.result(
            value=shares[worst],
            ci=wilson(inside[worst], present[worst], evidence.confidence),
            reference=reference,
            n={"train": real.train.num_rows, "synthetic": counts.rows},
            gate_n=min(real.train.num_rows, present[worst]),
            method="every row; Wilson interval of the worst column",
            aspects={"mean": Estimate(value=sum(shares.values()) / len(shares))},
            per_column=shares,
        )
