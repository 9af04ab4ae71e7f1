"""How many real images the generator could have made."""

from synthmill.metrics.base import Result
from synthmill.metrics.lib.image_evidence import ImageEvidence, ImageMetric
from synthmill.metrics.lib.prdc import K_MANIFOLD


class ImageRecall(ImageMetric):
    """Share of holdout images inside a synthetic image's neighbourhood (arXiv 1904.06991, equation 2)."""

    name = "image.recall"
    title = "Recall of images"
    question = "Does every real image have a synthetic one like it?"
    axis = "diversity"
    goal = "maximize"
    bounds = (0.0, 1.0)
    needs = ("holdout",)
    advice = (
        "Part of the real variety is out of reach: raise truncation or temperature, or choose a model that"
        " covers more (a VAE, WGAN-GP)."
    )

    def compute(self, evidence: ImageEvidence) -> Result:
        return self.share(evidence, lambda points: points.recalled, K_MANIFOLD)
