"""Do numbers depend on those before them as in real sequences?"""

import numpy as np
from scipy import stats

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.sequences import (
    LAGS,
    MIN_SEQUENCES,
    TOO_FEW,
    Sequences,
    lost_share,
    moving_columns,
    sides_of,
)
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric

LEAST_PAIRS, LEAST_OTHERS = 200, 50
"""Pairs of rows from which a lag counts, and from which the other side can tell it: sides are not equally
large, and one that has hardly fewer must not count as having no dependence."""


class SequenceAutocorrelation(TableMetric):
    """Mean difference of the rank autocorrelations at 1, 2, 3 and 5 rows, over the numeric columns that
    change within a sequence; each over the pairs of rows of all sequences together."""

    name = "sequence.autocorrelation"
    title = "Autocorrelation"
    question = "Do numbers depend on those of earlier rows as in real sequences?"
    axis = "fidelity"
    goal = "minimize"
    bounds = (0.0, 2.0)
    needs = ("sequences",)
    profile = "quick"
    advice = "Rows depend too little on those before them. Train for longer, or with more of data.lags."

    def compute(self, evidence: TableEvidence) -> Result:
        sides = evidence.once(sides_of)
        if sides.fewest < MIN_SEQUENCES:
            return self.unavailable(TOO_FEW)
        names = [column.name for column in moving_columns(evidence, sides, "numeric")]
        real, made, other = (
            None if side is None else {name: _of(side, name, least) for name in names}
            for side, least in (
                (sides.train, LEAST_PAIRS),
                (sides.synthetic, LEAST_OTHERS),
                (sides.reference, LEAST_OTHERS),
            )
        )
        assert real is not None
        assert made is not None
        found = _differences(real, made, absent=0.0)
        if not found:
            return self.not_applicable("no numeric column changes within sequences that are long enough")
        # The holdout is smaller: what it can't tell is left out of what two real sides differ by.
        reference = {} if other is None else _differences(real, other, absent=None)
        value = float(np.mean(list(found.values())))
        apart = float(np.mean(list(reference.values()))) if reference else None
        strength = float(np.mean([np.mean(np.abs(list(lags.values()))) for lags in real.values() if lags]))
        return self.result(
            value=value,
            reference=apart,
            aspects={"lost_share": Estimate(value=lost_share(value, apart, strength))},
            n=sides.n,
            gate_n=sides.fewest,
            method="Spearman's correlation of pairs of rows 1, 2, 3 and 5 apart, over at most 2,000 sequences"
            " a side; reference: train against holdout",
            per_column=found,
            details={"dependence": round(strength, 4), "train": _told(real), "synthetic": _told(made)},
        )


def _of(side: Sequences, name: str, least: int) -> dict[int, float]:
    """The autocorrelation of a column by lag, where there are at least so many pairs."""
    values, found = side.numbers(name), {}
    for lag in LAGS:
        first, second = (values[places] for places in side.pairs(lag))
        there = np.isfinite(first) & np.isfinite(second)
        first, second = first[there], second[there]
        if len(first) >= least and np.ptp(first) > 0 and np.ptp(second) > 0:
            found[lag] = float(stats.spearmanr(first, second).statistic)
    return found


def _differences(
    real: dict[str, dict[int, float]], other: dict[str, dict[int, float]], *, absent: float | None
) -> dict[str, float]:
    """The mean difference over lags by column; a lag that the other side can't tell counts as a dependence
    of `absent`, or, where that is None, not at all."""
    found = {}
    for name, lags in real.items():
        pairs = [(value, other[name].get(lag, absent)) for lag, value in lags.items()]
        apart = [abs(value - own) for value, own in pairs if own is not None]
        if apart:
            found[name] = float(np.mean(apart))
    return found


def _told(side: dict[str, dict[int, float]]) -> dict[str, dict[str, float]]:
    return {name: {str(lag): round(v, 4) for lag, v in lags.items()} for name, lags in side.items()}
