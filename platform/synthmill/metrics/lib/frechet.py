"""Frechet distance of two clouds of points as Gaussians, what it tends to with ever more points, and how sure
it is.

FD = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) (arXiv 1706.08500, equation 6). It is biased upward by about
c / N, so both sides of a comparison need equal N; FD-infinity is the intercept of a line through FD at
several N against 1 / N (arXiv 1911.07023).
"""

from dataclasses import dataclass

import numpy as np

from synthmill.metrics.lib.columns import Floats
from synthmill.metrics.lib.extractor import Features

# Ten parts: an eigenvalue problem each.
PARTS = 10
# Below 50 images a covariance of 64 features says little; eight sizes are enough for a line.
SIZES = 8
SMALLEST = 50


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of outer products, which add up over parts."""

    n: int
    total_D: Floats
    products_DD: Floats

    @classmethod
    def of(cls, points_ND: Features) -> "Moments":
        """Of these points."""
        points = points_ND.astype(np.float64)
        return cls(len(points), points.sum(0), points.T @ points)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.n + other.n, self.total_D + other.total_D, self.products_DD + other.products_DD)

    def __sub__(self, other: "Moments") -> "Moments":
        return Moments(self.n - other.n, self.total_D - other.total_D, self.products_DD - other.products_DD)

    @property
    def mean(self) -> Floats:
        return self.total_D / self.n

    @property
    def covariance(self) -> Floats:
        """Unbiased."""
        mean = self.mean
        return (self.products_DD - self.n * np.outer(mean, mean)) / max(1, self.n - 1)


def frechet(left: Moments, right: Moments) -> float:
    """The distance."""
    # tr (S1 S2)^(1/2) is the sum of square roots of the eigenvalues of S1 S2, real and not negative but for
    # rounding; a matrix square root takes longer and fails where a covariance is singular.
    one, two = left.covariance, right.covariance
    roots = np.sqrt(np.clip(np.linalg.eigvals(one @ two).real, 0.0, None))
    return float(np.square(left.mean - right.mean).sum() + np.trace(one) + np.trace(two) - 2.0 * roots.sum())


def frechet_with_error(points_ND: Features, real: Moments) -> tuple[float, float]:
    """The distance of points to real moments, and its standard error (delete-a-tenth jackknife)."""
    parts = [Moments.of(part) for part in np.array_split(points_ND, PARTS)]
    whole = sum(parts[1:], parts[0])
    return frechet(whole, real), _jackknife([frechet(whole - part, real) for part in parts])


def frechet_infinity(left_ND: Features, right_ND: Features, rng: np.random.Generator) -> float:
    """Intercept of FD against 1 / N, at SIZES values of N from a fifth of the points to all of them."""
    return _intercept(*_shuffled(left_ND, right_ND, rng))


def frechet_infinity_with_error(
    left_ND: Features, right_ND: Features, rng: np.random.Generator
) -> tuple[float, float]:
    """The same and its standard error: a jackknife that deletes a tenth of both sides and fits the line anew.

    The line's residuals say nothing of it: its points share images, so they lie on a line however far the
    line is off.
    """
    left, right = _shuffled(left_ND, right_ND, rng)
    parts = [np.arange(len(side)) % PARTS for side in (left, right)]
    left_out = [_intercept(left[parts[0] != part], right[parts[1] != part]) for part in range(PARTS)]
    return _intercept(left, right), _jackknife(left_out)


def _jackknife(left_out: list[float]) -> float:
    """Standard error from the figures without each of PARTS parts."""
    values = np.array(left_out)
    return float(np.sqrt((PARTS - 1) / PARTS * np.square(values - values.mean()).sum()))


def _shuffled(left_ND: Features, right_ND: Features, rng: np.random.Generator) -> tuple[Features, Features]:
    return left_ND[rng.permutation(len(left_ND))], right_ND[rng.permutation(len(right_ND))]


def _intercept(left_ND: Features, right_ND: Features) -> float:
    most = min(len(left_ND), len(right_ND))
    sizes = np.unique(np.linspace(max(SMALLEST, most // 5), most, SIZES).astype(int))
    distances = np.array([frechet(Moments.of(left_ND[:n]), Moments.of(right_ND[:n])) for n in sizes])
    # FD is biased by about c / N (arXiv 1911.07023), so its value at 1 / N = 0 is without bias.
    design = np.stack([np.ones(len(sizes)), 1.0 / sizes], axis=1)
    (intercept, _), *_ = np.linalg.lstsq(design, distances, rcond=None)
    return float(intercept)
