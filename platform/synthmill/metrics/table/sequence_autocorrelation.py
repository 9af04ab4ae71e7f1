"""Do numbers depend on those before them as in real sequences?"""

import numpy as np
from scipy import stats

from synthmill.metrics.base import Result
from synthmill.metrics.lib.sequences import (
    LAGS,
    MIN_SEQUENCES,
    TOO_FEW,
    Sequences,
    moving_columns,
    sides_of,
)
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric

LEAST_PAIRS = 200


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
            None if side is None else {name: _of(side, name) for name in names}
            for side in (sides.train, sides.synthetic, sides.reference)
        )
        assert real is not None
        assert made is not None
        found = _differences(real, made)
        if not found:
            return self.not_applicable("no numeric column changes within sequences that are long enough")
        reference = {} if other is None else _differences(real, other)
        return self.result(
            value=float(np.mean(list(found.values()))),
            reference=float(np.mean(list(reference.values()))) if reference else None,
            n=sides.n,
            gate_n=sides.fewest,
            method="Spearman's correlation of pairs of rows 1, 2, 3 and 5 apart, over at most 2,000 sequences"
            " a side; reference: train against holdout",
            per_column=found,
            details={"train": _told(real), "synthetic": _told(made)},
        )


def _of(side: Sequences, name: str) -> dict[int, float]:
    """The autocorrelation of a column by lag, where there are pairs enough to tell it."""
    values, found = side.numbers(name), {}
    for lag in LAGS:
        first, second = (values[places] for places in side.pairs(lag))
        there = np.isfinite(first) & np.isfinite(second)
        first, second = first[there], second[there]
        if len(first) >= LEAST_PAIRS and np.ptp(first) > 0 and np.ptp(second) > 0:
            found[lag] = float(stats.spearmanr(first, second).statistic)
    return found


def _differences(real: dict[str, dict[int, float]], other: dict[str, dict[int, float]]) -> dict[str, float]:
    """The mean difference over lags by column; a lag that the other side can't tell counts as no
    dependence."""
    return {
        name: float(np.mean([abs(value - other[name].get(lag, 0.0)) for lag, value in lags.items()]))
        for name, lags in real.items()
        if lags
    }


def _told(side: dict[str, dict[int, float]]) -> dict[str, dict[str, float]]:
    return {name: {str(lag): round(v, 4) for lag, v in lags.items()} for name, lags in side.items()}
