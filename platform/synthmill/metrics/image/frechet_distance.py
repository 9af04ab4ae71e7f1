"""How far the synthetic images' features are from the holdout's, as Gaussians."""

from synthmill.metrics.base import Result
from synthmill.metrics.lib.frechet import Moments, frechet_with_error
from synthmill.metrics.lib.image_evidence import ImageEvidence, ImageMetric
from synthmill.metrics.lib.intervals import normal_interval


class FrechetDistance(ImageMetric):
    """FD (arXiv 1706.08500, eq. 6) of synthetic to holdout images; reference: of as many training images."""

    name = "image.fd"
    title = "Frechet distance"
    question = "How far apart are synthetic and real images as a whole?"
    axis = "fidelity"
    goal = "minimize"
    bounds = (0.0, None)
    needs = ("holdout",)
    profile = "quick"
    advice = (
        "Images as a whole differ from real ones. See whether variety is missing (image.coverage) or quality"
        " (image.density)."
    )

    def compute(self, evidence: ImageEvidence) -> Result:
        if few := self.too_few(evidence):
            return few
        # Gates judge the ratio: the value itself depends on extractor and number of images.
        real = Moments.of(evidence.features("holdout"))
        value, error = frechet_with_error(evidence.features("synthetic"), real)
        reference, _ = frechet_with_error(evidence.features("train"), real)
        interval = normal_interval(value, error**2, evidence.confidence)
        method = (
            "features scaled to total variance 1; jackknife over tenths of the synthetic images; equal"
            " numbers"
        )
        return self.beside_training(evidence, value, reference, interval, method)
