"""Whether images of one class differ among themselves as much as real ones do."""

import numpy as np

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.columns import Floats
from synthmill.metrics.lib.image_evidence import ImageEvidence, ImageMetric
from synthmill.metrics.lib.intervals import percentile_interval

REPLICATES = 200
LEAST_OF_CLASS = 10


class IntraClassVariance(ImageMetric):
    """Mean over classes of trace(covariance of synthetic features) / trace(covariance of holdout ones)."""

    name = "image.intra_class_variance_ratio"
    title = "Variety within classes"
    question = "Are images of one class as varied as real ones?"
    axis = "diversity"
    goal = "target"
    target = 1.0
    bounds = (0.0, None)
    needs = ("holdout", "classes")
    advice = (
        "Below 1: a class is always drawn the same way; raise truncation or temperature. Above 1: images are"
        " noisy or of the wrong class."
    )

    def compute(self, evidence: ImageEvidence) -> Result:
        if few := self.too_few(evidence):
            return few
        real, synthetic, train = (self._spread(evidence, side) for side in ("holdout", "synthetic", "train"))
        both = [code for code in real if code in synthetic and code in train]
        if not both:
            return self.unavailable(
                f"no class has {LEAST_OF_CLASS} images on every side", gate_n=evidence.size
            )
        rng = evidence.rng(2)
        ratios = np.array([synthetic[code].mean() / max(real[code].mean(), 1e-12) for code in both])
        # Both sides are samples, so both are drawn again.
        drawn = np.array(
            [
                [_resampled(synthetic[c], rng) / max(_resampled(real[c], rng), 1e-12) for c in both]
                for _ in range(REPLICATES)
            ]
        ).mean(1)
        reference = float(np.mean([train[code].mean() / max(real[code].mean(), 1e-12) for code in both]))
        return self.named(
            evidence,
            value=float(ratios.mean()),
            ci=percentile_interval(drawn, evidence.confidence),
            reference=reference,
            method=(
                f"squared distances to class means, classes with at least {LEAST_OF_CLASS} images; bootstrap"
                f" of {REPLICATES}"
            ),
            aspects={"smallest": Estimate(value=float(ratios.min()))},
            per_column={
                evidence.classes[code]: float(ratio) for code, ratio in zip(both, ratios, strict=True)
            },
        )

    @staticmethod
    def _spread(evidence: ImageEvidence, side: str) -> dict[int, Floats]:
        """Class -> squared distance of each of its images to their mean, (n - 1) in the denominator."""
        labels, features = evidence.images(side).labels, evidence.features(side)  # type: ignore[arg-type]
        assert labels is not None
        spread = {}
        for code in range(len(evidence.classes)):
            points = features[labels == code].astype(np.float64)
            if len(points) >= LEAST_OF_CLASS:
                spread[code] = np.square(points - points.mean(0)).sum(1) * len(points) / (len(points) - 1)
        return spread


def _resampled(values: Floats, rng: np.random.Generator) -> float:
    return float(values[rng.integers(len(values), size=len(values))].mean())
