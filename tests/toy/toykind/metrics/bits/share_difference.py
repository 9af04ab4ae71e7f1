"""How far shares of ones are from those of training lines, in the worst place."""

from synthmill.metrics.base import Metric, Result
from toykind.evaluation.evidence.bits import Sides


class ShareDifference(Metric[Sides]):
    """The largest difference of shares over the places of a line."""

    name = "bits.share_difference"
    title = "Share of ones"
    question = "Is each place as often 1 as in the training lines?"
    axis = "fidelity"
    goal = "minimize"
    bounds = (0.0, 1.0)
    modalities = ("bits",)
    profile = "quick"
    advice = "Train on more lines."

    def compute(self, evidence: Sides) -> Result:
        gap = float((evidence.synthetic_W - evidence.train_W).abs().max())
        return self.result(value=gap, n={"synthetic": evidence.rows}, gate_n=evidence.rows, method="shares")
