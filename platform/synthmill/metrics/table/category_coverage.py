"""Do all levels of the training rows occur? Reads every row."""

import numpy as np

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.binning import MIN_LEVEL_ROWS
from synthmill.metrics.lib.intervals import wilson
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric

FREQUENT_ROWS = 20


class CategoryCoverage(TableMetric):
    """Share of levels that occur, in the worst column, of those with at least 5 training rows and 5 expected
    synthetic rows.

    Aspect `frequent`: the same with at least 20 expected rows, which chance leaves out once in 5e8.
    """

    name = "tabular.category_coverage"
    title = "Category coverage"
    question = "Does every category that should occur occur?"
    axis = "diversity"
    goal = "maximize"
    bounds = (0.0, 1.0)
    profile = "quick"
    advice = (
        "Levels are missing altogether (a dropped class or mode collapse). Train with sampling by category,"
        " longer, or balance the column."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        real, counts = evidence.real, evidence.totals.counts
        found = _coverage(evidence, counts.levels, counts.rows, MIN_LEVEL_ROWS)
        if not found:
            return self.not_applicable(
                "no category column has a level that is frequent enough to be expected"
            )
        held = real.holdout_totals
        reference = None
        if held is not None:
            other = _coverage(evidence, held.counts.levels, held.counts.rows, MIN_LEVEL_ROWS)
            reference = min((hit / total for hit, total in other.values()), default=None)
        worst = min(found, key=lambda name: found[name][0] / found[name][1])
        frequent = _coverage(evidence, counts.levels, counts.rows, FREQUENT_ROWS)
        return self.result(
            value=found[worst][0] / found[worst][1],
            ci=wilson(*found[worst], evidence.confidence),
            reference=reference,
            n={
                "train": real.train.num_rows,
                "synthetic": counts.rows,
                "levels": sum(total for _, total in found.values()),
            },
            gate_n=min(real.train.num_rows, counts.rows),
            method="every row; Wilson interval over the levels of the worst column",
            aspects={
                "frequent": Estimate(
                    value=min((hit / total for hit, total in frequent.values()), default=1.0), reference=1.0
                ),
                "all_levels": Estimate(
                    value=sum(h for h, _ in found.values()) / sum(t for _, t in found.values())
                ),
            },
            per_column={name: hit / total for name, (hit, total) in found.items()},
        )


def _coverage(
    evidence: TableEvidence, levels: dict[str, np.ndarray], rows: int, expected_rows: int
) -> dict[str, tuple[int, int]]:
    bins, share = evidence.real.plan.bins, rows / evidence.real.train.num_rows
    out = {}
    for name, seen in levels.items():
        counts = bins[name].level_counts
        due = (counts >= MIN_LEVEL_ROWS) & (counts * share >= expected_rows)
        if due.any():
            out[name] = (int((seen & due).sum()), int(due.sum()))
    return out
