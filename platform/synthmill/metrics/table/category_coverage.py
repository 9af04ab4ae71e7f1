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
        covered = _coverage(evidence, counts.levels, counts.rows, MIN_LEVEL_ROWS)
        if not covered:
            return self.not_applicable(
                "no category column has a level that is frequent enough to be expected"
            )
        holdout = real.holdout_totals
        reference = None
        if holdout is not None:
            other = _coverage(evidence, holdout.counts.levels, holdout.counts.rows, MIN_LEVEL_ROWS)
            reference = min((hit / total for hit, total in other.values()), default=None)
        worst = min(covered, key=lambda name: covered[name][0] / covered[name][1])
        levels = sum(total for _, total in covered.values())
        frequent = _coverage(evidence, counts.levels, counts.rows, FREQUENT_ROWS)
        least_frequent = min((hit / total for hit, total in frequent.values()), default=1.0)
        return self.result(
            value=covered[worst][0] / covered[worst][1],
            ci=wilson(*covered[worst], evidence.confidence),
            reference=reference,
            n={"train": real.train.num_rows, "synthetic": counts.rows, "levels": levels},
            gate_n=min(real.train.num_rows, counts.rows),
            method="every row; Wilson interval over the levels of the worst column",
            aspects={
                "frequent": Estimate(value=least_frequent, reference=1.0),
                "all_levels": Estimate(value=sum(hit for hit, _ in covered.values()) / levels),
            },
            per_column={name: hit / total for name, (hit, total) in covered.items()},
        )


def _coverage(
    evidence: TableEvidence, levels: dict[str, np.ndarray], rows: int, expected_rows: int
) -> dict[str, tuple[int, int]]:
    bins, share = evidence.real.plan.bins, rows / evidence.real.train.num_rows
    out = {}
    for name, seen in levels.items():
        counts = bins[name].level_counts
        # A level with 5 expected rows is absent by chance once in 150, with 20 once in 5e8: levels below
        # count for nothing.
        due = (counts >= MIN_LEVEL_ROWS) & (counts * share >= expected_rows)
        if due.any():
            out[name] = (int((seen & due).sum()), int(due.sum()))
    return out
