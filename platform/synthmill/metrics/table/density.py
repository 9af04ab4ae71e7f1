"""How much of the synthetic rows lies where real rows are."""

from synthmill.metrics.base import Result
from synthmill.metrics.lib.intervals import normal_interval
from synthmill.metrics.lib.prdc import K_DENSITY
from synthmill.metrics.lib.row_coverage import row_coverage
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric


class Density(TableMetric):
    """Mean number of training neighbourhoods (radius: the 5th neighbour) a synthetic row falls into, over 5
    (arXiv 2002.09797, eq. 5).

    Below 1: rows where no real row is. Above 1: rows crowd where real ones are dense.
    """

    name = "fidelity.density"
    title = "Density"
    question = "Do synthetic rows lie where real rows lie?"
    axis = "fidelity"
    goal = "target"
    target = 1.0
    bounds = (0.0, None)
    advice = (
        "Below 1: many rows lie off the real data (noise, impossible combinations). Above 1: only the densest"
        " part is generated."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        neighbours = evidence.once(row_coverage)
        if neighbours is None:
            return self.unavailable(f"too few rows for {K_DENSITY} neighbours")
        if neighbours.tied > 0.5:
            why = (
                f"{neighbours.tied:.0%} of the training rows have {K_DENSITY} equal ones, so no neighbourhood"
                " to lie in; see diversity.coverage"
            )
            return self.unavailable(why, gate_n=neighbours.synthetic.rows)
        synthetic = neighbours.synthetic
        return self.result(
            value=synthetic.density,
            ci=normal_interval(synthetic.density, synthetic.density_variance, evidence.confidence),
            reference=neighbours.holdout.density if neighbours.holdout else 1.0,
            n={"train": synthetic.rows, "synthetic": synthetic.rows},
            gate_n=synthetic.rows,
            method=f"k = {K_DENSITY}, equal seeded samples; variance over training rows; reference: "
            + ("holdout rows" if neighbours.holdout else "1"),
        )
