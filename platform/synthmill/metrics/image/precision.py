"""How many synthetic images look like some real one."""

from synthmill.metrics.base import Result
from synthmill.metrics.lib.image_evidence import ImageEvidence, ImageMetric
from synthmill.metrics.lib.prdc import K_MANIFOLD


class ImagePrecision(ImageMetric):
    """Share of synthetic images inside a holdout image's neighbourhood (arXiv 1904.06991, equation 2)."""

    name = "image.precision"
    title = "Precision of images"
    question = "Do synthetic images look like some real one?"
    axis = "fidelity"
    goal = "maximize"
    bounds = (0.0, 1.0)
    needs = ("holdout",)
    advice = "Many images look like no real one: train longer, or lower truncation or temperature."

    def compute(self, evidence: ImageEvidence) -> Result:
        return self.share(evidence, lambda points: points.precise, K_MANIFOLD)
