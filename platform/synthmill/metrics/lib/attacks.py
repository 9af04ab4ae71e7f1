"""What the three attacks of Anonymeter share (Giomi et al., arXiv 2211.10459): rates, and risk corrected for
a control group.

Each attack is run on training rows (main), on holdout rows (control: what can be learnt of anyone) and by
guessing (baseline). risk = (r_main - r_control) / (1 - r_control), with Wilson rates, eq. 1 to 3.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.intervals import excess_p
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric


@dataclass(frozen=True)
class Attempts:
    """Successes of the three attacks out of equally many attempts."""

    main: int
    control: int
    baseline: int
    number: int

    @property
    def p(self) -> float:
        """One-sided exact p of so many more successes on training rows than on the holdout (Fisher)."""
        # The risk's own interval is a normal approximation that fails where the control succeeds nearly
        # always: real rows were warned of in seven calibration tables of ten.
        return excess_p(self.main, self.control, self.number, self.number)


def wilson_rate(hits: int, attempts: int, confidence: float) -> tuple[float, float]:
    """Centre and half width of Wilson's interval."""
    # Wilson, as in the paper: with 0 hits the normal interval would have no width.
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    total = attempts + z**2
    half = z / total * float(np.sqrt(hits * (attempts - hits) / attempts + z**2 / 4))
    return (hits + z**2 / 2) / total, half


def risk(attempts: Attempts, confidence: float) -> tuple[float, tuple[float, float]]:
    """Control-corrected risk and its interval, both within [0, 1]."""
    main, main_error = wilson_rate(attempts.main, attempts.number, confidence)
    control, control_error = wilson_rate(attempts.control, attempts.number, confidence)
    value = (main - control) / (1 - control)
    # Delta method: main and control are independent samples, and the risk depends on both.
    error = float(np.hypot(main_error / (1 - control), (main - 1) / (1 - control) ** 2 * control_error))
    value, low, high = (float(np.clip(x, 0, 1)) for x in (value, value - error, value + error))
    return value, (low, high)


def attack_result(
    cls: type[TableMetric],
    attempts: Attempts,
    evidence: TableEvidence,
    method: str,
    *,
    chosen_among: int = 1,
    **details: object,
) -> Result:
    """A result; `details.stronger_than_guessing` is false where the figure can't be trusted.

    `chosen_among`: the attempts are the worst of so many; the interval is Bonferroni-corrected for it.
    """
    # The worst of several columns is chosen for being the worst, which an interval must allow for.
    value, ci = risk(attempts, 1 - (1 - evidence.confidence) / chosen_among)
    rates = {kind: getattr(attempts, kind) / attempts.number for kind in ("main", "control", "baseline")}
    return cls.result(
        value=value,
        ci=ci,
        reference=0.0,
        confidence=evidence.confidence,
        n={"attempts": attempts.number},
        gate_n=attempts.number,
        method=f"{method}; Wilson rates; reference: no more success on training rows than on the holdout",
        aspects={
            **{kind: Estimate(value=rate) for kind, rate in rates.items()},
            "p_value": Estimate(value=min(1.0, chosen_among * attempts.p), reference=0.5),
        },
        # An attack that guessing beats says nothing of the data (Anonymeter: it "cannot be trusted").
        details={"stronger_than_guessing": attempts.main > attempts.baseline, **details},
    )


def sides(evidence: TableEvidence) -> int:
    """Rows of train and of holdout that are attacked and that populations are cut to: equally many."""
    real, limit = evidence.real, evidence.settings.limits.neighbour_rows
    assert real.holdout is not None
    # A larger population has more rows that a predicate fits or a point is near to, by chance alone.
    return int(min(real.train.num_rows, real.holdout.num_rows, limit or real.train.num_rows))
