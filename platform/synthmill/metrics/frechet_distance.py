"""How far the synthetic pictures' features are from the holdout's, as Gaussians."""

from synthmill.metrics._frechet import Moments, frechet_with_error
from synthmill.metrics._intervals import normal_interval
from synthmill.metrics._pictures import PictureEvidence, PictureMetric
from synthmill.metrics.base import Estimate, Result


class FrechetDistance(PictureMetric):
    """FD (arXiv 1706.08500, equation 6) of synthetic to holdout pictures; reference: of training to holdout pictures, equal numbers."""

    name = "image.fd"
    title = "Frechet distance"
    question = "How far apart are synthetic and real pictures as a whole?"
    axis = "fidelity"
    goal = "minimize"
    bounds = (0.0, None)
    needs = ("holdout",)
    profile = "quick"
    advice = "Pictures as a whole differ from real ones. See whether variety is missing (image.coverage) or quality (image.density)."

    def compute(self, evidence: PictureEvidence) -> Result:
        if few := self.too_few(evidence):
            return few
        real = Moments.of(evidence.features("holdout"))
        value, error = frechet_with_error(evidence.features("synthetic"), real)
        reference, _ = frechet_with_error(evidence.features("train"), real)
        return self.named(
            evidence,
            value=value,
            ci=normal_interval(value, error**2, evidence.settings.confidence),
            reference=reference,
            method="features scaled to total variance 1; jackknife over tenths of the synthetic pictures; equal numbers",
            aspects={"ratio": Estimate(value=value / reference if reference > 0 else None, reference=1.0)},
        )
