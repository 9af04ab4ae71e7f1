"""The column shapes score of SDMetrics, for comparison with reports made there."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from synthmill.metrics.base import Result
from synthmill.metrics.lib.binning import Bins
from synthmill.metrics.lib.columns import Floats, Ints, common_codes, floats
from synthmill.metrics.lib.intervals import influence_interval
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric


class ColumnShapes(TableMetric):
    """Mean over columns of 1 - Kolmogorov-Smirnov distance or 1 - total variation, missing left out."""

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
            return self.not_applicable("the table has only identifier columns")
        train, fake = evidence.table("train", limit), evidence.table("synthetic", limit)
        shapes = _shapes(bins, train, fake)
        value = interval = reference = None
        if shapes:
            value = _mean(shapes)
            real_moves = np.mean([shape.real for shape in shapes.values()], axis=0)
            fake_moves = np.mean([shape.fake for shape in shapes.values()], axis=0)
            interval = influence_interval(value, real_moves, fake_moves, evidence.confidence, self.bounds)
        if evidence.real.holdout is not None:
            others = _shapes(bins, train, evidence.table("holdout", limit))
            reference = _mean(others) if others else None
        return self.result(
            value=value,
            ci=interval,
            reference=reference,
            n={"train": train.num_rows, "synthetic": fake.num_rows},
            gate_n=min(train.num_rows, fake.num_rows),
            method="seeded sample; delta-method interval, which SDMetrics does not give",
            per_column={name: shape.score for name, shape in shapes.items()},
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
    return tv_complement(*common_codes(real, fake))


def ks_complement(real: Floats, fake: Floats) -> Shape | None:
    """1 - sup |F_real - F_fake|; missing values (NaN) are left out."""
    present = [side[~np.isnan(side)] for side in (real, fake)]
    if not len(present[0]) or not len(present[1]):
        return None
    both = np.concatenate(present)
    first, second = (np.searchsorted(np.sort(side), both, side="right") / len(side) for side in present)
    widest = int(np.argmax(np.abs(first - second)))
    # Delta method at the place of the largest difference, as if it were fixed: right where the columns
    # differ, 30% too wide where they do not (docs/log.md).
    sign = np.sign(second[widest] - first[widest])
    moves = [
        np.where(np.isnan(side), 0.0, sign * ((side <= both[widest]) - share[widest]))
        for side, share in ((real, first), (fake, second))
    ]
    shares = [len(values) / len(side) for values, side in zip(present, (real, fake), strict=True)]
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


def _shapes(bins: Mapping[str, Bins], real: pa.Table, fake: pa.Table) -> dict[str, Shape]:
    shapes = {name: column_shape(b, real[name], fake[name]) for name, b in bins.items()}
    return {name: shape for name, shape in shapes.items() if shape is not None}


def _mean(shapes: Mapping[str, Shape]) -> float:
    return float(np.mean([shape.score for shape in shapes.values()]))
