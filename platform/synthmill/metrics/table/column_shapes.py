"""The column shapes score of SDMetrics, for comparison with reports made there."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from synthmill.metrics.base import Result
from synthmill.metrics.lib.binning import Bins
from synthmill.metrics.lib.columns import Floats, Ints, floats, texts
from synthmill.metrics.lib.intervals import influence_interval
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric


class ColumnShapes(TableMetric):
    """Mean over columns of 1 - Kolmogorov-Smirnov distance (numbers) or 1 - total variation (categories),
    missing left out."""

    name = "tabular.column_shapes"
    title = "Column shapes (SDMetrics)"
    question = "What would SDMetrics say about single columns?"
    axis = "fidelity"
    goal = "maximize"
    bounds = (0.0, 1.0)
    advice = (
        "Comparable with SDMetrics, not a gate: a mean over columns hides a dead one. See"
        " tabular.marginal_gap."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        bins, limit = evidence.real.plan.bins, evidence.settings.limits.classifier_rows
        if not bins:
            return self.missing("not_applicable", "the table has only identifier columns")
        train, fake = evidence.table("train", limit), evidence.table("synthetic", limit)
        found = {name: column_shape(b, train[name], fake[name]) for name, b in bins.items()}
        held = None if evidence.real.holdout is None else evidence.table("holdout", limit)
        present = [shape for shape in found.values() if shape is not None]
        value = float(np.mean([shape.score for shape in present])) if present else None
        return self.result(
            value=value,
            ci=(
                None
                if value is None
                else influence_interval(
                    value, *_mean_influence(present), evidence.settings.confidence, self.bounds
                )
            ),
            reference=(
                None
                if held is None
                else _mean([column_shape(b, train[name], held[name]) for name, b in bins.items()])
            ),
            n={"train": train.num_rows, "synthetic": fake.num_rows},
            gate_n=min(train.num_rows, fake.num_rows),
            method="seeded sample; delta-method interval, which SDMetrics does not give",
            per_column={name: shape.score for name, shape in found.items() if shape is not None},
        )


@dataclass(frozen=True)
class Shape:
    """One column's score, and how much each row moves it."""

    score: float
    real: Floats
    fake: Floats


def column_shape(bins: Bins, real: pa.ChunkedArray, fake: pa.ChunkedArray) -> Shape | None:
    """None where a side has no values."""
    if bins.column.role == "numeric":
        return ks_complement(floats(real), floats(fake))
    (real_codes, real_levels), (fake_codes, fake_levels) = texts(real), texts(fake)
    place = {level: i for i, level in enumerate(dict.fromkeys([*real_levels, *fake_levels]))}
    sides = [
        np.array([*(place[level] for level in levels), -1], dtype=np.int64)[codes]
        for codes, levels in ((real_codes, real_levels), (fake_codes, fake_levels))
    ]
    return tv_complement(sides[0], sides[1], len(place))


def ks_complement(real: Floats, fake: Floats) -> Shape | None:
    """1 - sup |F_real - F_fake|; missing values (NaN) are left out."""
    present = [side[~np.isnan(side)] for side in (real, fake)]
    if not len(present[0]) or not len(present[1]):
        return None
    both = np.concatenate(present)
    first, second = (np.searchsorted(np.sort(side), both, side="right") / len(side) for side in present)
    widest = int(np.argmax(np.abs(first - second)))
    sign = np.sign(second[widest] - first[widest])
    moves = [
        np.where(np.isnan(side), 0.0, sign * ((side <= both[widest]) - share[widest]))
        for side, share in ((real, first), (fake, second))
    ]
    shares = [len(kept) / len(side) for kept, side in zip(present, (real, fake), strict=True)]
    return Shape(float(1 - abs(first[widest] - second[widest])), moves[0] / shares[0], moves[1] / shares[1])


def tv_complement(real: Ints, fake: Ints, levels: int) -> Shape | None:
    """1 - half the L1 distance of the level frequencies; codes, negative where missing."""
    counts = [np.bincount(side[side >= 0], minlength=levels) for side in (real, fake)]
    if not counts[0].sum() or not counts[1].sum():
        return None
    first, second = (count / count.sum() for count in counts)
    signs = np.append(0.5 * np.sign(second - first), 0.0)
    moves = []
    for side, share in ((real, first), (fake, second)):
        known = side >= 0
        moves.append(np.where(known, signs[side] - float(signs[:-1] @ share), 0.0) / known.mean())
    return Shape(float(1 - 0.5 * np.abs(first - second).sum()), moves[0], moves[1])


def _mean_influence(shapes: list[Shape]) -> tuple[Floats, Floats]:
    return np.mean([shape.real for shape in shapes], axis=0), np.mean(
        [shape.fake for shape in shapes], axis=0
    )


def _mean(shapes: list[Shape | None]) -> float | None:
    present = [shape.score for shape in shapes if shape is not None]
    return float(np.mean(present)) if present else None
