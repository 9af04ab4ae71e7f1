"""How much of the synthetic rows lies where real rows are."""

from synthmill.metrics._evidence import Evidence
from synthmill.metrics._intervals import normal_interval
from synthmill.metrics._manifold import K, compared
from synthmill.metrics.base import Metric, Result


class Density(Metric):
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

    def compute(self, evidence: Evidence) -> Result:
        found = compared(evidence)
        if found is None:
            return self.missing("unavailable", f"too few rows for {K} neighbours")
        if found.tied > 0.5:
            why = (
                f"{found.tied:.0%} of the training rows have {K} equal ones, so no neighbourhood to lie in;"
                " see diversity.coverage"
            )
            return self.missing("unavailable", why, gate_n=found.synthetic.rows)
        mine = found.synthetic
        return self.result(
            value=mine.density,
            ci=normal_interval(mine.density, mine.density_variance, evidence.settings.confidence),
            reference=found.holdout.density if found.holdout else 1.0,
            n={"train": mine.rows, "synthetic": mine.rows},
            gate_n=mine.rows,
            method=f"k = {K}, equal seeded samples; variance over training rows; reference: "
            + ("holdout rows" if found.holdout else "1"),
        )
