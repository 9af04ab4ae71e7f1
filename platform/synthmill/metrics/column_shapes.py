"""The column shapes score of SDMetrics, for comparison with reports made there."""

import numpy as np

from synthmill.metrics._binning import Bins
from synthmill.metrics._columns import Floats, floats, texts
from synthmill.metrics._evidence import Evidence
from synthmill.metrics.base import Metric, Result


class ColumnShapes(Metric):
    """Mean over columns of 1 - Kolmogorov-Smirnov distance (numbers) or 1 - total variation (categories), missing left out."""

    name = "tabular.column_shapes"
    title = "Column shapes (SDMetrics)"
    question = "What would SDMetrics say about single columns?"
    axis = "fidelity"
    goal = "maximize"
    bounds = (0.0, 1.0)
    advice = "Comparable with SDMetrics, not a gate: a mean over columns hides a dead one. See tabular.marginal_gap."

    def compute(self, evidence: Evidence) -> Result:
        bins, limit = evidence.real.plan.bins, evidence.settings.limits.classifier_rows
        if not bins:
            return self.missing("not_applicable", "the table has only identifier columns")
        train, fake = evidence.table("train", limit), evidence.table("synthetic", limit)
        scores = {name: column_shape(b, train[name], fake[name]) for name, b in bins.items()}
        held = None if evidence.real.holdout is None else evidence.table("holdout", limit)
        present = [v for v in scores.values() if v is not None]
        return self.result(
            value=float(np.mean(present)) if present else None,
            reference=None if held is None else _mean([column_shape(b, train[name], held[name]) for name, b in bins.items()]),
            n={"train": train.num_rows, "synthetic": fake.num_rows},
            gate_n=min(train.num_rows, fake.num_rows),
            method="seeded sample; no interval, as in SDMetrics",
            per_column={name: v for name, v in scores.items() if v is not None},
        )


def column_shape(bins: Bins, real: object, fake: object) -> float | None:
    """One column's score; None where a side has no values."""
    if bins.column.role == "numeric":
        return ks_complement(floats(real), floats(fake))
    return tv_complement(*_labels(real), *_labels(fake))


def ks_complement(real: Floats, fake: Floats) -> float | None:
    """1 - sup |F_real - F_fake|."""
    real, fake = np.sort(real[~np.isnan(real)]), np.sort(fake[~np.isnan(fake)])
    if not len(real) or not len(fake):
        return None
    both = np.concatenate([real, fake])
    gaps = np.searchsorted(real, both, side="right") / len(real) - np.searchsorted(fake, both, side="right") / len(fake)
    return float(1 - np.abs(gaps).max())


def tv_complement(real: list[str], real_counts: Floats, fake: list[str], fake_counts: Floats) -> float | None:
    """1 - half the L1 distance of the level frequencies."""
    if not real_counts.sum() or not fake_counts.sum():
        return None
    p = dict(zip(real, real_counts / real_counts.sum(), strict=True))
    q = dict(zip(fake, fake_counts / fake_counts.sum(), strict=True))
    return float(1 - 0.5 * sum(abs(p.get(level, 0.0) - q.get(level, 0.0)) for level in {*p, *q}))


def _labels(column: object) -> tuple[list[str], Floats]:
    codes, values = texts(column)
    return values, np.bincount(codes[codes >= 0], minlength=len(values)).astype(np.float64)


def _mean(values: list[float | None]) -> float | None:
    present = [v for v in values if v is not None]
    return float(np.mean(present)) if present else None
