"""The Frechet distance without the bias of finite numbers."""

from synthmill.metrics.base import Result
from synthmill.metrics.lib.frechet import SMALLEST, frechet_infinity, frechet_infinity_with_error
from synthmill.metrics.lib.image_evidence import ImageEvidence, ImageMetric
from synthmill.metrics.lib.intervals import normal_interval


class FrechetInfinity(ImageMetric):
    """Intercept of FD against 1 / N (arXiv 1911.07023, equation 7); may come out slightly below 0."""

    name = "image.fd_infinity"
    title = "Frechet distance, bias removed"
    question = "How far apart would they be with any number of images?"
    axis = "fidelity"
    goal = "minimize"
    needs = ("holdout",)
    advice = "See image.fd. This one can be compared between data sets of different sizes."

    def compute(self, evidence: ImageEvidence) -> Result:
        # The line needs several sizes of at least 50 images each.
        if evidence.size < 4 * SMALLEST:
            return self.unavailable(
                f"only {evidence.size} images a side; {4 * SMALLEST} are needed", gate_n=evidence.size
            )
        real = evidence.features("holdout")
        value, error = frechet_infinity_with_error(evidence.features("synthetic"), real, evidence.rng(1))
        reference = frechet_infinity(evidence.features("train"), real, evidence.rng(1))
        return self.named(
            evidence,
            value=value,
            ci=normal_interval(value, error**2, evidence.confidence),
            reference=reference,
            method=(
                "line through FD at 8 numbers of images from a fifth to all; jackknife over tenths of both"
                " sides"
            ),
        )
