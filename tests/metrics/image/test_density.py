"""Density of images."""

from image_evidence import class_means, evidence, noisy, sides
from synthmill.metrics.image.density import ImageDensity


def test_noise_lies_off_the_data_and_class_means_crowd() -> None:
    real, noise, means = (
        ImageDensity().compute(evidence(p)).value or 0.0
        for p in (sides()[2], noisy(sides()[2], 0.5), class_means(sides()[2]))
    )
    assert 0.8 < real < 1.2
    assert noise < 0.6 * real
    assert means > 1.2 * real
