"""Intervals and tests that several metrics share. Every function is pure; `confidence` is two-sided."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from synthmill.metrics.lib.columns import Bools, Floats, Ints

Interval = tuple[float, float]


def normal_interval(value: float, variance: float, confidence: float = 0.95) -> Interval:
    """value +- z * sd."""
    half = float(stats.norm.ppf(0.5 + confidence / 2)) * float(np.sqrt(max(variance, 0.0)))
    return value - half, value + half


def influence_interval(
    value: float,
    left: Floats,
    right: Floats,
    confidence: float,
    bounds: tuple[float | None, float | None] = (None, None),
) -> Interval:
    """Delta method: how much each row of two independent samples moves the value; cut at `bounds`."""
    low, high = normal_interval(value, float(left.var() / len(left) + right.var() / len(right)), confidence)
    least, most = bounds
    return low if least is None else max(low, least), high if most is None else min(high, most)


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927); (0, 1) without trials."""
    return _proportion(successes, trials, confidence, "wilson")


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Exact interval of a proportion (Clopper and Pearson 1934); (0, 1) without trials."""
    return _proportion(successes, trials, confidence, "exact")


def _proportion(
    successes: int, trials: int, confidence: float, method: Literal["wilson", "exact"]
) -> Interval:
    if trials == 0:
        return 0.0, 1.0
    interval = stats.binomtest(successes, trials).proportion_ci(confidence, method=method)
    return float(interval.low), float(interval.high)


def u_statistic(h_NN: npt.NDArray[Any]) -> tuple[float, float]:
    """Mean of a symmetric kernel over pairs of N items, its diagonal 0, and the variance of that mean,
    (4 (n - 2) zeta_1 + 2 zeta_2) / (n (n - 1)) (Hoeffding 1948, eq. 5.13).

    zeta_2 is the variance of h, zeta_1 that of its mean over one argument, less what averaging n - 1 values
    adds to it.
    """
    n = len(h_NN)
    pairs = n * (n - 1)
    # Sums in float64: the mean is a small difference of terms near 1, which float32 would round away.
    value = float(h_NN.sum(dtype=np.float64) / pairs)
    influence = h_NN.sum(axis=1, dtype=np.float64) / (n - 1)
    second = max(0.0, float((h_NN**2).sum(dtype=np.float64) / pairs - value**2))
    first = max(0.0, (float(influence.var(ddof=1)) - second / (n - 1)) / (1 - 1 / (n - 1)))
    return value, 4 * (n - 2) / pairs * first + 2 * second / pairs


def excess_p(in_train: int, in_holdout: int, num_train: int, num_holdout: int) -> float:
    """One-sided exact p of at least `in_train` hits in train, given that hits fall on train and holdout rows
    by chance alone.

    Under the null the `in_train + in_holdout` real rows that were hit are a simple random sample of all of
    them (hypergeometric; Fisher's exact test). With equal sides and few hits this is Binomial(hits, 1/2).
    """
    hits = in_train + in_holdout
    if hits == 0:
        return 1.0
    # Exact, as counts of copies are small; a normal approximation would fail honest generators.
    return float(min(1.0, stats.hypergeom.sf(in_train - 1, num_train + num_holdout, num_train, hits)))


def rate_difference(a: int, num_a: int, b: int, num_b: int, confidence: float = 0.95) -> Interval:
    """Interval of a/num_a - b/num_b (Newcombe 1998, method 10: hybrid of two Wilson intervals)."""
    p, q = a / num_a, b / num_b
    (low_p, high_p), (low_q, high_q) = wilson(a, num_a, confidence), wilson(b, num_b, confidence)
    # Newcombe: the plain interval has no width where both rates are 0, the usual case for copies.
    difference = p - q
    below, above = np.hypot(p - low_p, high_q - q), np.hypot(high_p - p, q - low_q)
    return float(difference - below), float(difference + above)


def total_variation(left: Ints, right: Ints) -> float:
    """Half the L1 distance of two histograms of one binning, each normalised to 1; 1 if one is empty."""
    if left.sum() == 0 or right.sum() == 0:
        return float(left.sum() != right.sum())
    return float(0.5 * np.abs(left / left.sum() - right / right.sum()).sum())


def expected_variation(counts: Ints, num_left: int, num_right: int) -> float:
    """Total variation that sampling noise alone gives between two samples of one distribution.

    E|p - q| per bin ~ sqrt(2/pi * p (1 - p) (1/n1 + 1/n2)), the normal approximation (mostlyai-qa's
    `accuracy_max`). `counts` estimate p.
    """
    if counts.sum() == 0 or num_left == 0 or num_right == 0:
        return 0.0
    p = counts / counts.sum()
    return float(0.5 * np.sqrt(2 / np.pi * p * (1 - p) * (1 / num_left + 1 / num_right)).sum())


def auc(positive: Floats, negative: Floats) -> tuple[float, float]:
    """Area under the ROC curve and its variance (DeLong 1988) from scores; ties count one half."""
    m, n = len(positive), len(negative)
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    within_p, within_n = stats.rankdata(positive), stats.rankdata(negative)
    v10 = (ranks[:m] - within_p) / n
    v01 = 1.0 - (ranks[m:] - within_n) / m
    # A single row has no spread: the largest variance that an indicator can have.
    variance = (v10.var(ddof=1) / m if m > 1 else 0.25) + (v01.var(ddof=1) / n if n > 1 else 0.25)
    return float(v10.mean()), float(variance)


def weighted_auc(truth: Bools, score: Floats, weights_BN: Floats) -> Floats:
    """(B,): the AUC under each row of non-negative weights (B, N); NaN where a class has no weight."""
    order = np.argsort(score, kind="stable")
    score, truth, weights_BN = score[order], truth[order], weights_BN[:, order]
    # Rows of equal score are one step of the curve, or their order would decide.
    starts = np.flatnonzero(np.concatenate([[True], score[1:] != score[:-1]]))
    positive = np.add.reduceat(weights_BN * truth, starts, axis=1)
    negative = np.add.reduceat(weights_BN * ~truth, starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    wins = (positive * (below + 0.5 * negative)).sum(axis=1)
    possible = positive.sum(axis=1) * negative.sum(axis=1)
    return np.asarray(np.divide(wins, possible, out=np.full(len(wins), np.nan), where=possible > 0))


def bootstrap_weights(num_rows: int, replicates: int, rng: np.random.Generator) -> Floats:
    """(B, N): how often each row is drawn when N rows are drawn with replacement, B times."""
    weights: Any = rng.multinomial(num_rows, np.full(num_rows, 1 / num_rows), size=replicates)
    return np.asarray(weights, dtype=np.float64)


def percentile_interval(values: Floats, confidence: float = 0.95) -> Interval | None:
    """Central interval of bootstrap values; None when there are none."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the family-wise error (Holm 1979), in the given order."""
    order = np.argsort(p_values, kind="stable")
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        # Adjusted values must not fall: a hypothesis is rejected only if all with smaller p are.
        running = max(running, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, running)
    return adjusted
