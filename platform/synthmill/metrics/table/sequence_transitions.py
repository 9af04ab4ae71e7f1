"""Do categories follow each other as in real sequences?"""

import numpy as np

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.columns import Floats
from synthmill.metrics.lib.sequences import (
    MIN_SEQUENCES,
    TOO_FEW,
    Sequences,
    lost_share,
    moving_columns,
    sides_of,
)
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric


class SequenceTransitions(TableMetric):
    """Total variation between p(category | the one before) of train and synthetic rows, averaged over the
    one before as train rows have it, and over the columns of categories that change within a sequence."""

    name = "sequence.transitions"
    title = "Transitions"
    question = "Does a category follow another as often as in real sequences?"
    axis = "fidelity"
    goal = "minimize"
    bounds = (0.0, 1.0)
    needs = ("sequences",)
    profile = "quick"
    advice = "Categories follow each other otherwise. Train for longer; see the columns listed first."

    def compute(self, evidence: TableEvidence) -> Result:
        sides = evidence.once(sides_of)
        if sides.fewest < MIN_SEQUENCES:
            return self.unavailable(TOO_FEW)
        columns = moving_columns(evidence, sides, "category")
        if not columns:
            return self.not_applicable("no column of categories changes within sequences")
        real, made, other = sides.train, sides.synthetic, sides.reference
        found = {column.name: _distance(real, made, column.name) for column in columns}
        reference = [] if other is None else [_distance(real, other, column.name) for column in columns]
        value = float(np.mean(list(found.values())))
        apart = float(np.mean(reference)) if reference else None
        strength = float(np.mean([_memory(real, column.name) for column in columns]))
        return self.result(
            value=value,
            reference=apart,
            aspects={"lost_share": Estimate(value=lost_share(value, apart, strength))},
            n=sides.n,
            gate_n=sides.fewest,
            method="first-order transitions between the levels that pairs use, over at most 2,000 sequences a"
            " side; reference: train against holdout",
            per_column=found,
            details={"dependence": round(strength, 4)},
        )


def _distance(real: Sequences, other: Sequences, name: str) -> float:
    width = 1 + max(int(side.codes(name).max(initial=0)) for side in (real, other))
    left, right = _counts(real, name, width), _counts(other, name, width)
    before = left.sum(axis=1)
    # A level that the other side never has before another row is as far off as can be.
    shares = [counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) for counts in (left, right)]
    apart = np.where(right.sum(axis=1) > 0, 0.5 * np.abs(shares[0] - shares[1]).sum(axis=1), 1.0)
    return float((apart * before).sum() / max(before.sum(), 1))


def _memory(side: Sequences, name: str) -> float:
    """How far transitions are from those of rows that know nothing of the one before."""
    counts = _counts(side, name, 1 + int(side.codes(name).max(initial=0)))
    before, after = counts.sum(axis=1), counts.sum(axis=0) / max(counts.sum(), 1)
    apart = 0.5 * np.abs(counts / np.maximum(before, 1)[:, None] - after).sum(axis=1)
    return float((apart * before).sum() / max(before.sum(), 1))


def _counts(side: Sequences, name: str, width: int) -> Floats:
    """How often each level follows each, (width, width)."""
    first, second = (side.codes(name)[places] for places in side.pairs(1))
    return np.bincount(first * width + second, minlength=width * width).reshape(width, width).astype(float)
