"""The Frechet distance of images."""

import numpy as np
import pytest

from image_evidence import class_means, evidence, extractor, noisy, sides
from synthmill.metrics.image.frechet_distance import FrechetDistance
from synthmill.metrics.lib.frechet import Moments, frechet, frechet_with_error


def test_gaussians_in_closed_form() -> None:
    """Axis-parallel: |m1 - m2|^2 + sum (s1 - s2)^2."""
    draws = np.random.default_rng(0).normal(size=(200_000, 2))
    one = Moments.of((draws * [1.0, 2.0]).astype(np.float32))
    two = Moments.of((draws[::-1] * [3.0, 2.0] + [0.5, 0.0]).astype(np.float32))
    assert frechet(one, two) == pytest.approx(0.25 + 4.0, rel=0.02)
    assert frechet(one, one) == pytest.approx(0.0, abs=1e-9)


def test_moments_add_up() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    both = Moments.of(points[:20]) + Moments.of(points[20:])
    assert np.allclose(both.covariance, np.cov(points.T))
    assert np.allclose((both - Moments.of(points[:20])).mean, points[20:].mean(0))


def test_real_images_are_at_the_reference_and_faults_are_far() -> None:
    real = FrechetDistance().compute(evidence(sides()[2]))
    assert real.value is not None
    assert real.reference is not None
    assert real.value < 2 * real.reference
    for fault in (noisy(sides()[2], 0.3), class_means(sides()[2])):
        found = FrechetDistance().compute(evidence(fault))
        assert found.value is not None
        assert found.value > 3 * real.value


def test_the_name_says_which_features() -> None:
    result = FrechetDistance().compute(evidence(sides()[2]))
    assert result.metric == f"image.fd@{extractor().name}"
    assert extractor().name.startswith("classifier-")


def test_the_error_shrinks_with_the_square_root_of_the_number() -> None:
    draws = np.random.default_rng(0).normal(size=(8_000, 4)).astype(np.float32)
    real = Moments.of(draws[4_000:])
    few, many = frechet_with_error(draws[:250] + 1, real)[1], frechet_with_error(draws[:4_000] + 1, real)[1]
    assert 2 < few / many < 8


def test_few_images_give_no_value() -> None:
    assert FrechetDistance().compute(evidence(sides()[2].take(slice(0, 20)))).status == "unavailable"
