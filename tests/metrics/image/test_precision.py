"""Precision of images, and both figures of arXiv 1904.06991 on points where they are known."""

import numpy as np

from image_evidence import evidence, noisy, sides
from synthmill.metrics.image.precision import ImagePrecision
from synthmill.metrics.lib.prdc import prdc


def test_half_of_the_points_elsewhere() -> None:
    rng = np.random.default_rng(0)
    real, other = rng.normal(size=(2, 400, 2)).astype(np.float32)
    other[:200] += 100
    found = prdc(real, other)
    assert 180 <= found.precise <= 200
    assert found.recalled > 340, "the other half still reaches nearly everything"


def test_noise_is_no_image() -> None:
    real, noise = (
        ImagePrecision().compute(evidence(p)).value or 0.0 for p in (sides()[2], noisy(sides()[2], 0.5))
    )
    assert real > 0.8
    assert noise < 0.7 * real
