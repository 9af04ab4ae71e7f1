"""Variety within classes."""

from image_evidence import class_means, evidence, noisy, sides
from synthmill.metrics.image.intra_class_variance import IntraClassVariance


def test_one_for_real_images_nothing_for_class_means_more_for_noise() -> None:
    real, means, noise = (
        IntraClassVariance().compute(evidence(p))
        for p in (sides()[2], class_means(sides()[2]), noisy(sides()[2], 0.5))
    )
    assert 0.85 < (real.value or 0.0) < 1.15
    assert (means.value or 0.0) < 0.01
    assert (noise.value or 0.0) > 1.2
    assert real.ci is not None
    assert real.ci[0] < (real.value or 0.0) < real.ci[1]
