"""The Frechet distance without bias."""

import numpy as np
import pytest

from image_evidence import evidence, noisy, sides
from synthmill.metrics.image.frechet_infinity import FrechetInfinity
from synthmill.metrics.lib.frechet import Moments, frechet, frechet_infinity_with_error


def test_equal_distributions_have_none_however_few_points() -> None:
    draws = np.random.default_rng(0).normal(size=(1_000, 16)).astype(np.float32)
    biased = frechet(Moments.of(draws[:500]), Moments.of(draws[500:]))
    value, error = frechet_infinity_with_error(draws[:500], draws[500:], np.random.default_rng(1))
    assert biased > 0.1
    assert abs(value) < 0.3 * biased
    assert 0 < error < biased


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_the_interval_holds_the_truth_as_often_as_it_says(shift: float) -> None:
    """Normal clouds, one moved by `shift`: the distance is its square."""
    rng, found = np.random.default_rng(0), []
    for _ in range(40):
        left, right = (rng.normal(size=(2, 300, 4)) / 2).astype(np.float32)
        left[:, 0] += shift
        found.append(frechet_infinity_with_error(left, right, rng))
    values, errors = np.array(found).T
    assert (np.abs(values - shift**2) <= 1.96 * errors).mean() >= 0.85
    assert 0.7 < errors.mean() / values.std() < 1.5


def test_noise_is_still_seen() -> None:
    real, fault = (
        FrechetInfinity().compute(evidence(images)) for images in (sides()[2], noisy(sides()[2], 0.3))
    )
    assert real.value is not None
    assert fault.value is not None
    assert fault.value > 5 * abs(real.value)
