"""How much of the real rows' variety the synthetic rows reach."""

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.intervals import wilson
from synthmill.metrics.lib.prdc import K_DENSITY, expected_coverage
from synthmill.metrics.lib.row_coverage import row_coverage
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric


class Coverage(TableMetric):
    """Share of training rows with a synthetic row within their 5th real one (arXiv 2002.09797, eq. 8)."""

    name = "diversity.coverage"
    title = "Coverage"
    question = "Is every kind of real row also generated?"
    axis = "diversity"
    goal = "maximize"
    bounds = (0.0, 1.0)
    advice = (
        "Parts of the real variety are never generated (mode collapse), or noise moves rows off it. Compare"
        " with fidelity.density."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        neighbours = evidence.once(row_coverage)
        if neighbours is None:
            return self.unavailable(f"too few rows for {K_DENSITY} neighbours")
        synthetic, holdout = neighbours.synthetic, neighbours.holdout
        value = synthetic.covered / synthetic.rows
        # Without a holdout the expectation has a closed form, whatever the distribution.
        reference = holdout.covered / holdout.rows if holdout else expected_coverage(synthetic.rows)
        return self.result(
            value=value,
            ci=wilson(synthetic.covered, synthetic.rows, evidence.confidence),
            reference=reference,
            n={"train": synthetic.rows, "synthetic": synthetic.rows},
            gate_n=synthetic.rows,
            method=f"k = {K_DENSITY}, equal seeded samples; Wilson interval; reference: "
            + ("holdout rows" if holdout else "its expectation (no holdout)"),
            aspects={"ratio": Estimate(value=value / reference if reference else None, reference=1.0)},
        )
