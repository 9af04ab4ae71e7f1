"""How much of the real images' variety the synthetic ones reach."""

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.image_evidence import ImageEvidence, ImageMetric
from synthmill.metrics.lib.intervals import wilson
from synthmill.metrics.lib.prdc import K_DENSITY


class ImageCoverage(ImageMetric):
    """Share of holdout images with a synthetic one nearer than their 5th real neighbour (arXiv 2002.09797,
    equation 8)."""

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
        if few := self.too_few(evidence):
            return few
        synthetic, train = evidence.prdc
        value, reference = synthetic.covered / synthetic.rows, train.covered / train.rows
        return self.named(
            evidence,
            value=value,
            ci=wilson(synthetic.covered, synthetic.rows, evidence.settings.confidence),
            reference=reference,
            method=(
                f"k = {K_DENSITY}, equal numbers; Wilson interval; reference: training images against holdout"
                " images"
            ),
            aspects={"ratio": Estimate(value=value / reference if reference else None, reference=1.0)},
        )
