"""The Frechet distance without bias."""

import numpy as np

from picture_evidence import evidence, noisy, sides
from synthmill.metrics._frechet import Moments, frechet, frechet_infinity
from synthmill.metrics.frechet_infinity import FrechetInfinity


def test_equal_distributions_have_none_however_few_points() -> None:
    draws = np.random.default_rng(0).normal(size=(1_000, 16)).astype(np.float32)
    biased = frechet(Moments.of(draws[:500]), Moments.of(draws[500:]))
    value, error = frechet_infinity(draws[:500], draws[500:], np.random.default_rng(1))
    assert biased > 0.1
    assert abs(value) < 0.3 * biased
    assert 0 < error < biased


def test_noise_is_still_seen() -> None:
    real, fault = (FrechetInfinity().compute(evidence(pictures)) for pictures in (sides()[2], noisy(sides()[2], 0.3)))
    assert real.value is not None
    assert fault.value is not None
    assert fault.value > 5 * abs(real.value)
