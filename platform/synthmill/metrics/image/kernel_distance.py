"""The kernel distance of features: unbiased, so the right figure for few images."""

from dataclasses import dataclass

import numpy as np

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.columns import Floats
from synthmill.metrics.lib.extractor import Features
from synthmill.metrics.lib.image_evidence import ImageEvidence, ImageMetric
from synthmill.metrics.lib.intervals import normal_interval, u_statistic

# Three matrices of this size in float64 are 96 MB.
MAX_ROWS = 2_000


class KernelDistance(ImageMetric):
    """KID: squared maximum mean discrepancy with the kernel (x.y / d + 1)^3 (arXiv 1801.01401, section 4)."""

    name = "image.kid"
    title = "Kernel distance (KID)"
    question = "How far apart are the two sets, without bias for their size?"
    axis = "fidelity"
    goal = "minimize"
    needs = ("holdout",)
    advice = (
        "See image.fd; this figure nearly misses collapse to class means, so read image.coverage beside it."
    )

    def compute(self, evidence: ImageEvidence) -> Result:
        if few := self.too_few(evidence):
            return few
        size = min(evidence.size, MAX_ROWS)
        real = evidence.features("holdout", size)
        train = evidence.features("train", size)
        # The cube of x.y / d + 1 depends on the scale, which differs from extractor to extractor.
        scale = np.float32(1.0 / np.sqrt(np.square(train).sum(1).mean()))
        generated = kid(evidence.features("synthetic", size) * scale, real * scale)
        reference = kid(train * scale, real * scale)
        excess = (generated.value - reference.value) / max(generated.error, 1e-12)
        return self.named(
            evidence,
            value=generated.value,
            ci=normal_interval(generated.value, generated.error**2, evidence.confidence),
            reference=reference.value,
            n={"train": size, "holdout": size, "synthetic": size},
            gate_n=size,
            method=(
                f"training features of mean square 1; U-statistic, at most {MAX_ROWS} images a side; variance"
                " of the U-statistic"
            ),
            aspects={"excess_in_standard_errors": Estimate(value=excess, reference=0.0)},
        )


@dataclass(frozen=True)
class Kid:
    """The estimate and its standard error."""

    value: float
    error: float


def kid(left_ND: Features, right_ND: Features) -> Kid:
    """Equally many points of mean square norm 1, so that x.y is x.y / d of features of mean square 1."""
    xx, yy, xy = _kernel(left_ND, left_ND), _kernel(right_ND, right_ND), _kernel(left_ND, right_ND)
    h = xx + yy - xy - xy.T
    np.fill_diagonal(h, 0.0)
    value, variance = u_statistic(h)
    return Kid(value, float(np.sqrt(variance)))


def _kernel(a: Features, b: Features) -> Floats:
    product = a.astype(np.float64) @ b.astype(np.float64).T
    return np.asarray((product + 1.0) ** 3, dtype=np.float64)
