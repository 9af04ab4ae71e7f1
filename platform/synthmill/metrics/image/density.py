"""How much of the synthetic images lies where real ones are."""

from synthmill.metrics.base import Result
from synthmill.metrics.lib.image_evidence import ImageEvidence, ImageMetric
from synthmill.metrics.lib.intervals import normal_interval
from synthmill.metrics.lib.prdc import K_DENSITY


class ImageDensity(ImageMetric):
    """Mean count of holdout neighbourhoods a synthetic image falls into, over 5 (arXiv 2002.09797, eq. 5)."""

    name = "image.density"
    title = "Density of images"
    question = "Do synthetic images lie where real ones lie?"
    axis = "fidelity"
    goal = "target"
    target = 1.0
    bounds = (0.0, None)
    needs = ("holdout",)
    advice = "Below 1: images lie off the real ones. Above 1: only the most typical kind is generated."

    def compute(self, evidence: ImageEvidence) -> Result:
        if few := self.too_few(evidence):
            return few
        synthetic, train = evidence.prdc
        interval = normal_interval(synthetic.density, synthetic.density_variance, evidence.confidence)
        method = (
            f"k = {K_DENSITY}, equal numbers; variance over holdout images; reference: training images"
            " against holdout images"
        )
        return self.beside_training(evidence, synthetic.density, train.density, interval, method)
