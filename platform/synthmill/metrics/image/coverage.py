"""How much of the real images' variety the synthetic ones reach."""

from synthmill.metrics.base import Result
from synthmill.metrics.lib.image_evidence import ImageEvidence, ImageMetric
from synthmill.metrics.lib.prdc import K_DENSITY


class ImageCoverage(ImageMetric):
    """Share of holdout images with a synthetic one within their 5th neighbour (arXiv 2002.09797, eq. 8)."""

    name = "image.coverage"
    title = "Coverage of images"
    question = "Is every kind of real image also generated?"
    axis = "diversity"
    goal = "maximize"
    bounds = (0.0, 1.0)
    needs = ("holdout",)
    profile = "quick"
    advice = (
        "Parts of the real variety are never generated (mode collapse), or the images are off. Compare with"
        " image.density."
    )

    def compute(self, evidence: ImageEvidence) -> Result:
        return self.share(evidence, lambda points: points.covered, K_DENSITY)
