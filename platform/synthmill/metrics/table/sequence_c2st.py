"""Can a classifier tell whole synthetic sequences from real ones?"""

from collections.abc import Sequence

import numpy as np

from synthmill.metrics.base import Result
from synthmill.metrics.lib.columns import Floats
from synthmill.metrics.lib.intervals import normal_interval
from synthmill.metrics.lib.sequences import MIN_SEQUENCES, Sequences, sides_of
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric
from synthmill.metrics.table.c2st import FOLDS, Fold, run_fold

MIN_A_SIDE = 50
MOST_LEVELS = 8


class SequenceClassifierTest(TableMetric):
    """Cross-validated ROC AUC of gradient-boosted trees on features of whole sequences: length, gaps, and of
    each column its mean, spread, first value and how neighbours go together (after arXiv 1610.06545)."""

    name = "sequence.c2st_auc"
    title = "Real or synthetic sequence? (classifier)"
    question = "Can a classifier tell whole synthetic sequences from real ones?"
    axis = "fidelity"
    goal = "target"
    target = 0.5
    bounds = (0.0, 1.0)
    needs = ("sequences",)
    advice = "A classifier tells the sequences apart. See lengths, gaps, autocorrelation and transitions."

    def compute(self, evidence: TableEvidence) -> Result:
        sides = evidence.once(sides_of)
        columns = [
            (column.name, column.role)
            for column in evidence.real.columns
            if column.role != "identifier" and column.name != sides.train.order
        ]
        rng = evidence.rng(20)
        # In random order: sources are often sorted, and cuts must not take the earliest.
        real, made, other = (
            None if side is None else rng.permutation(_features(side, columns))
            for side in (sides.train, sides.synthetic, sides.holdout)
        )
        assert real is not None
        assert made is not None
        if other is not None:
            # Sequences that the generator never saw first: where the sides are cut, others go.
            real_rows = np.concatenate([other, real])
        else:
            real_rows = real
        size = min(len(real_rows), len(made))
        if size < MIN_A_SIDE:
            return self.unavailable(f"{size} sequences a side are too few; {MIN_A_SIDE} are needed")
        value, variance = _auc(evidence, real_rows[:size], made[:size])
        reference, rows = None, 0
        if other is not None and min(len(real), len(other)) >= max(MIN_SEQUENCES, MIN_A_SIDE):
            rows = min(len(real), len(other))
            reference, _ = _auc(evidence, real[:rows], other[:rows])
        return self.result(
            value=value,
            ci=normal_interval(value, variance, evidence.confidence),
            reference=reference,
            n={"real": size, "synthetic": size, "reference a side": rows},
            gate_n=size,
            method=f"{FOLDS}-fold gradient boosting on features of whole sequences; mean of fold AUCs, DeLong"
            " variance; reference: train against holdout",
        )


def _auc(evidence: TableEvidence, real: Floats, made: Floats) -> tuple[float, float]:
    x = np.concatenate([real, made])
    y = np.arange(len(x)) >= len(real)
    fold_of = evidence.rng(21).permutation(len(x)) % FOLDS
    seed = evidence.settings.seed & 0x7FFFFFFF
    nothing = np.zeros(x.shape[1], dtype=bool)
    jobs = [Fold(x, y, fold_of == k, nothing, seed + k, False) for k in range(FOLDS)]
    folds = evidence.map_tasks(run_fold, jobs)
    return float(np.mean([f[0] for f in folds])), float(np.sum([f[1] for f in folds]) / FOLDS**2)


def _features(side: Sequences, columns: Sequence[tuple[str, str]]) -> Floats:
    """What a sequence is like, float64 (G, features)."""
    found = [side.lengths.astype(float)]
    first, second = side.pairs(1)
    sequence, whose = side.runs.sequence, side.runs.sequence[second]
    if side.order is not None:
        found += _moments(side.gaps, whose, len(side))
    for name, role in columns:
        if role == "numeric":
            values = side.numbers(name)
            found += [*_moments(values, sequence, len(side)), values[side.runs.starts]]
            found += _moments(np.abs(values[second] - values[first]), whose, len(side))[:1]
            continue
        codes = side.codes(name)
        found += _moments((codes[first] == codes[second]).astype(float), whose, len(side))[:1]
        found += [_moments((codes == k).astype(float), sequence, len(side))[0] for k in range(MOST_LEVELS)]
    return np.stack(found, axis=1)


def _moments(values: Floats, whose: np.ndarray, sequences: int) -> list[Floats]:
    """Mean and standard deviation of each sequence's finite values, (G,) each; NaN without any."""
    there = np.isfinite(values)
    values, whose = values[there], whose[there]
    count = np.bincount(whose, minlength=sequences).astype(float)
    count[count == 0] = np.nan
    mean = np.bincount(whose, values, minlength=sequences) / count
    square = np.bincount(whose, (values - mean[whose]) ** 2, minlength=sequences) / count
    return [mean, np.sqrt(square)]
