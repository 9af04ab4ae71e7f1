"""KID."""

import numpy as np
import pytest

from image_evidence import evidence, noisy, sides
from synthmill.metrics.image.kernel_distance import KernelDistance, kid


def test_the_estimate_is_unbiased() -> None:
    """Its mean over many pairs of samples of one distribution is 0, within its own errors."""
    rng = np.random.default_rng(0)
    found = [
        kid(*rng.normal(size=(2, 40, 8)).astype(np.float32) / np.sqrt(8).astype(np.float32))
        for _ in range(200)
    ]
    values, errors = np.array([each.value for each in found]), np.array([each.error for each in found])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(200)
    assert 0.9 < np.sqrt(np.square(errors).mean()) / values.std() < 1.3


def test_against_the_definition() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    kernel = lambda a, b: (float(a @ b) + 1) ** 3  # noqa: E731
    within = [kernel(z[i], z[j]) for z in (x, y) for i in range(6) for j in range(6) if i != j]
    across = [kernel(x[i], y[j]) for i in range(6) for j in range(6) if i != j]
    assert kid(x, y).value == pytest.approx(sum(within) / 30 - 2 * sum(across) / 30, rel=1e-5)


def test_noise_is_seen_and_real_images_are_within_the_error() -> None:
    real, fault = (
        KernelDistance().compute(evidence(images)) for images in (sides()[2], noisy(sides()[2], 0.3))
    )
    assert abs(real.aspects["excess_in_standard_errors"].value or 0.0) < 4
    assert (fault.aspects["excess_in_standard_errors"].value or 0.0) > 10
