"""How many synthetic pictures look like some real one."""

from synthmill.metrics._intervals import wilson
from synthmill.metrics._pictures import PictureEvidence, PictureMetric
from synthmill.metrics._prdc import K_MANIFOLD, compared
from synthmill.metrics.base import Estimate, Result


class ImagePrecision(PictureMetric):
    """Share of synthetic pictures inside a holdout picture's neighbourhood (arXiv 1904.06991, equation 2)."""

    name = "image.precision"
    title = "Precision of pictures"
    question = "Do synthetic pictures look like some real one?"
    axis = "fidelity"
    goal = "maximize"
    bounds = (0.0, 1.0)
    needs = ("holdout",)
    advice = "Many pictures look like no real one: train longer, or lower truncation or temperature."

    def compute(self, evidence: PictureEvidence) -> Result:
        if few := self.too_few(evidence):
            return few
        mine, held = compared(evidence)
        value, reference = mine.precise / mine.n, held.precise / held.n
        return self.named(
            evidence,
            value=value,
            ci=wilson(mine.precise, mine.n, evidence.settings.confidence),
            reference=reference,
            method=f"k = {K_MANIFOLD}, equal numbers; Wilson interval; reference: training pictures against holdout pictures",
            aspects={"ratio": Estimate(value=value / reference if reference else None, reference=1.0)},
        )
