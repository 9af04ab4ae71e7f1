"""The column pair trends score of SDMetrics, for comparison with reports made there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.association import cramers_v_plain
from synthmill.metrics.lib.binning import Bins
from synthmill.metrics.lib.columns import MISSING, Bools, Floats, Ints, common_codes, floats
from synthmill.metrics.lib.intervals import influence_interval
from synthmill.metrics.lib.pairs import MAX_PAIRS, looked_at
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric

NUM_BINS = 10
MIN_CORRELATION = 0.5
MIN_ASSOCIATION = 0.3
Pair = tuple[str, str]


class ColumnPairTrends(TableMetric):
    """Mean over pairs of 1 - |difference of Pearson's r| / 2 (two numbers) or 1 - total variation of the
    contingency table.

    As in SDMetrics 0.32, each table's numbers are cut at 10 equal parts of its own range when paired with a
    category. Its quirks stay: unrelated pairs score near 1, halving makes r = 0.9 against 0.5 a score of 0.8.
    The value is over all pairs (its `ColumnPairTrends` property); `associated_pairs` over those with |r| >
    0.5 or Cramer's V > 0.3 in the training rows (its `QualityReport`, from 0.32 on).
    """

    name = "tabular.column_pair_trends"
    title = "Column pair trends (SDMetrics)"
    question = "What would SDMetrics say about pairs of columns?"
    axis = "fidelity"
    goal = "maximize"
    bounds = (0.0, 1.0)
    advice = "Comparable with SDMetrics, not a gate: unrelated pairs dominate the mean. See tabular.pair_gap."

    def compute(self, evidence: TableEvidence) -> Result:
        pairs, bins = evidence.real.plan.pairs, evidence.real.plan.bins
        limit = evidence.settings.limits.classifier_rows
        if not pairs:
            return self.not_applicable("a single column has no pairs")
        train, fake = evidence.table("train", limit), evidence.table("synthetic", limit)
        trends = pair_trends(bins, pairs, train, fake)
        real = {}
        if evidence.real.holdout is not None:
            real = pair_trends(bins, pairs, train, evidence.table("holdout", limit))
        associated = [pair for pair, trend in trends.items() if trend.associated]
        value, interval = _mean(trends, trends), None
        if value is not None:
            left, right = (
                np.sum([trend.moves[i] for trend in trends.values()], axis=0) / len(trends) for i in (0, 1)
            )
            interval = influence_interval(value, left, right, evidence.confidence, self.bounds)
        return self.result(
            value=value,
            ci=interval,
            reference=_mean(real, real),
            n={"train": train.num_rows, "synthetic": fake.num_rows, "pairs": len(pairs)},
            gate_n=min(train.num_rows, fake.num_rows),
            method=(
                f"seeded sample; at most {MAX_PAIRS} pairs{looked_at(evidence.real.plan)}; delta-method"
                " interval, which SDMetrics does not give"
            ),
            aspects={
                "associated_pairs": Estimate(
                    value=_mean(trends, associated), reference=_mean(real, associated)
                )
            },
            per_column={f"{a}|{b}": trend.score for (a, b), trend in trends.items()},
        )


@dataclass(frozen=True)
class Trend:
    """One pair's score, and whether its columns depend on each other in the training rows."""

    score: float
    associated: bool
    moves: tuple[Floats, Floats]
    """How much each training and each synthetic row moves the score."""


def pair_trends(
    bins: dict[str, Bins], pairs: tuple[tuple[str, str], ...], real: pa.Table, fake: pa.Table
) -> dict[tuple[str, str], Trend]:
    """The score of every pair; pairs with a constant number have none."""
    numeric = {name for name, b in bins.items() if b.column.role == "numeric"}
    used = sorted({name for pair in pairs for name in pair})
    numbers = {name: (floats(real[name]), floats(fake[name])) for name in used if name in numeric}
    codes = {name: _codes(real, fake, name, numbers.get(name)) for name in used}
    out: dict[tuple[str, str], Trend] = {}
    for a, b in pairs:
        both_numeric = {a, b} <= numeric
        trend = _correlation(numbers[a], numbers[b]) if both_numeric else _contingency(codes[a], codes[b])
        if trend is not None:
            out[a, b] = trend
    return out


Sides = tuple[Ints, Ints]


def _codes(real: pa.Table, fake: pa.Table, name: str, numbers: tuple[Floats, Floats] | None) -> Sides:
    if numbers is not None:
        return _own_bins(numbers[0]), _own_bins(numbers[1])
    first, second, size = common_codes(real[name], fake[name])
    return np.where(first == MISSING, size, first), np.where(second == MISSING, size, second)


def _own_bins(values: Floats) -> Ints:
    present = values[np.isfinite(values)]
    if not len(present):
        return np.full(len(values), NUM_BINS + 1, dtype=np.int64)
    # Each table by its own range, as SDMetrics does: a shifted table then looks the same.
    return np.digitize(values, np.histogram_bin_edges(present, NUM_BINS)).astype(np.int64)


def _correlation(a: tuple[Floats, Floats], b: tuple[Floats, Floats]) -> Trend | None:
    r, moves = [], []
    for x, y in zip(a, b, strict=True):
        both = np.isfinite(x) & np.isfinite(y)
        if both.sum() < 2 or x[both].std() == 0 or y[both].std() == 0:
            return None
        r.append(float(np.corrcoef(x[both], y[both])[0, 1]))
        moves.append(_correlation_moves(x, y, both, r[-1]))
    sign = np.sign(r[1] - r[0]) / 2
    return Trend(1 - abs(r[0] - r[1]) / 2, abs(r[0]) > MIN_CORRELATION, (sign * moves[0], sign * moves[1]))


def _correlation_moves(x: Floats, y: Floats, both: Bools, r: float) -> Floats:
    """Influence of each row on Pearson's r: zx zy - r (zx^2 + zy^2) / 2; 0 where a value is missing."""
    u, v = ((c - c[both].mean()) / c[both].std() for c in (x, y))
    return np.asarray(np.where(both, u * v - r / 2 * (u**2 + v**2), 0.0) / both.mean())


def _contingency(a: Sides, b: Sides) -> Trend:
    width = int(max(b[0].max(), b[1].max())) + 1
    cells = [x * width + y for x, y in zip(a, b, strict=True)]
    size = int(max(c.max() for c in cells)) + 1
    shares = [np.bincount(c, minlength=size) / len(c) for c in cells]
    strength = cramers_v_plain(a[0].astype(np.float64), b[0].astype(np.float64), int(a[0].max()) + 1, width)
    signs = 0.5 * np.sign(shares[1] - shares[0])
    score = float(1 - 0.5 * np.abs(shares[0] - shares[1]).sum())
    return Trend(score, strength > MIN_ASSOCIATION, (signs[cells[0]], signs[cells[1]]))


def _mean(trends: Mapping[Pair, Trend], pairs: Iterable[Pair]) -> float | None:
    scores = [trends[pair].score for pair in pairs if pair in trends]
    return float(np.mean(scores)) if scores else None
