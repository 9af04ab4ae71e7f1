"""Synthetic rows that are training rows, compared with the holdout. Reads every row."""

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.intervals import excess_p, rate_difference
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric


class ExactCopy(TableMetric):
    """Share of single training rows found among the synthetic rows minus the same share of single holdout
    rows.

    Single: occurs once in train and holdout together. Counted per real row, so the test is exact: which side
    a single row fell to is chance (hypergeometric, `p_value`). Direct sharing of frequent rows, which
    everyone has, does not count.
    """

    name = "privacy.exact_copy_excess"
    title = "Exact copies"
    question = "Are training rows repeated word for word?"
    axis = "privacy"
    goal = "minimize"
    target = 0.0
    bounds = (-1.0, 1.0)
    needs = ("holdout",)
    profile = "quick"
    advice = (
        "The generator repeats people. Do not publish; train a smaller model, stop earlier, or add rows. "
        "A table of few discrete columns matches by chance, but then train and holdout rows match alike."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        matches, singles = evidence.totals.matches, evidence.real.singles
        assert matches is not None
        assert singles is not None
        num_train, num_holdout = len(singles.train), len(singles.holdout)
        if not num_train or not num_holdout:
            return self.unavailable("no row occurs only once, so no row can be told from a chance match")
        a, b = int(matches.train.sum()), int(matches.holdout.sum())
        copies, others = matches.rows_in_train, matches.rows_in_holdout
        # Per real row, not per synthetic one: a generator that repeats one copy often is one leak.
        p = excess_p(a, b, num_train, num_holdout)
        return self.result(
            value=a / num_train - b / num_holdout,
            ci=rate_difference(a, num_train, b, num_holdout, evidence.confidence),
            reference=0.0,
            n={"single train rows": num_train, "single holdout rows": num_holdout, "synthetic": matches.rows},
            gate_n=min(num_train, num_holdout, matches.rows),
            method=(
                "every row, by 64-bit hash of all columns but identifiers; exact hypergeometric p, Newcombe"
                " interval"
            ),
            aspects={
                "p_value": Estimate(value=p, reference=0.5),
                "train_share": Estimate(value=a / num_train, reference=b / num_holdout),
                "synthetic_share": Estimate(value=copies / matches.rows, reference=others / matches.rows),
            },
            details={"train_rows_found": a, "holdout_rows_found": b, "synthetic_rows_in_train": copies},
        )
