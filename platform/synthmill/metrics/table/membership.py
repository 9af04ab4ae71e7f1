"""Can an attacker who has a person's record tell whether it was in the training data?"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.columns import Floats
from synthmill.metrics.lib.intervals import Interval, auc, clopper_pearson, percentile_interval
from synthmill.metrics.lib.neighbours import nearest
from synthmill.metrics.lib.singles import K, SinglePair, single_pair
from synthmill.metrics.lib.space import Points
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric

FPR = 0.01
REPLICATES = 2000
MIN_REFERENCE_ROWS = 100
MIN_SIDE = 100
MIN_OUTLIERS = 50


class Membership(TableMetric):
    """True positive rate at 1% false positives of the stronger of two attacks, no access to the generator.

    nearest: a record is called a member when a synthetic row is near. calibrated: when synthetic rows are
    nearer than real rows of the same population are, d_k(x, R) / d_k(x, S) with k = 5, a nearest-neighbour
    form of DOMIAS (arXiv 2302.12580, eq. 2). Members are train rows, non-members holdout rows, equally many,
    each occurring once; R is validation or, where that is small, train rows outside the sample. The average
    over everyone (AUC) hides a few victims, so it is an aspect only.
    """

    name = "privacy.mia_tpr@1fpr"
    title = "Membership inference"
    question = "Can an attacker tell who was in the training data?"
    axis = "privacy"
    goal = "minimize"
    bounds = (0.0, 1.0)
    needs = ("holdout",)
    advice = (
        "Some training rows can be recognised. Do not publish; train a smaller model, stop earlier, use more"
        " rows, or train with differential privacy."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        pair = single_pair(evidence)
        size = 0 if pair is None else len(pair.train)
        if pair is None or size < MIN_SIDE or len(pair.synthetic) < 2 * K:
            return self.unavailable(
                f"{size} single rows a side can't show a rate of 1%; {MIN_SIDE} is the least", gate_n=size
            )
        attacks = {"nearest": judge_scores(-pair.from_train[:, 0], -pair.from_holdout[:, 0], FPR)}
        around = _reference(evidence, pair)
        if around is not None:
            far = tuple(nearest(rows, around, K)[0] for rows in (pair.train, pair.holdout))
            ratios = (_ratio(pair.from_train, far[0]), _ratio(pair.from_holdout, far[1]))
            attacks["calibrated"] = judge_scores(*ratios, FPR)
        # TPR at 1% FPR, not AUC: the average over everyone hides a few victims (arXiv 2112.03570).
        best = max(attacks, key=lambda name: attacks[name].hits)
        strongest = attacks[best]
        rows = {"members": size, "non-members": size, "synthetic": len(pair.synthetic)}
        rng, confidence = evidence.rng(40), evidence.confidence
        aspects = {
            name: Estimate(value=a.hits / size, ci=rate_interval(a, confidence, rng), reference=FPR)
            for name, a in attacks.items()
        }
        aspects |= {f"{name}_auc": Estimate(value=a.auc, reference=0.5) for name, a in attacks.items()}
        if around is not None:
            aspects["outliers"] = _on_outliers(pair, far[0][:, -1], far[1][:, -1], confidence, rng)
        # The stronger of two attacks was chosen: Bonferroni.
        aspects["p_value"] = Estimate(value=min(1.0, len(attacks) * strongest.p_value), reference=0.5)
        return self.result(
            **aspects[best].model_dump(),
            n={**rows, "reference": 0 if around is None else len(around)},
            gate_n=size,
            method=(
                "rows that occur once, equal sides; interval: the wider of Clopper-Pearson and bootstrap;"
                " reference: guessing"
            ),
            aspects=aspects,
            details={"strongest": best},
        )


@dataclass(frozen=True)
class Attack:
    """How an attack did at its threshold."""

    hits: int
    allowed: int
    """Non-members above the threshold."""
    members: Floats
    others: Floats
    auc: float
    p_value: float
    """P(so many hits or more) when members and non-members are alike."""


def _ratio(to_fake: Floats, to_real: Floats) -> Floats:
    """log of the mean distance to K reference rows over that to K synthetic rows."""
    tiny = 1e-9
    return np.asarray(np.log(to_real.mean(axis=1) + tiny) - np.log(to_fake.mean(axis=1) + tiny))


def judge_scores(members: Floats, others: Floats, fpr: float) -> Attack:
    """Members above the threshold that at most `fpr` of the non-members reach."""
    allowed = int(fpr * len(others))
    threshold = np.sort(others)[::-1][allowed]
    hits = int(np.count_nonzero(members > threshold))
    p = exceed_p(hits, allowed, len(members), len(others))
    return Attack(hits, allowed, members, others, auc(members, others)[0], p)


def rate_interval(attack: Attack, confidence: float, rng: np.random.Generator) -> Interval:
    """Of the true positive rate, the threshold being an estimate too.

    The bootstrap draws both sides: a drawn threshold is the (allowed + 1)-th highest of N non-members drawn
    with replacement, whose rank is N times a Beta(allowed + 1, N - allowed) variable, and the hits above it
    are binomial. Where few or no members are hit the bootstrap knows too little and the exact interval at the
    observed threshold is the wider one: each end is the outer of the two.
    """
    size, others = len(attack.members), np.sort(attack.others)[::-1]
    shares = rng.beta(attack.allowed + 1, len(others) - attack.allowed, REPLICATES)
    ranks = (shares * len(others)).astype(np.int64)
    above = size - np.searchsorted(np.sort(attack.members), others[ranks], side="right")
    drawn = percentile_interval(rng.binomial(size, above / size) / size, confidence)
    exact = clopper_pearson(attack.hits, size, confidence)
    return exact if drawn is None else (min(exact[0], drawn[0]), max(exact[1], drawn[1]))


def exceed_p(hits: int, allowed: int, members: int, others: int) -> float:
    """P(at least `hits` members above the (allowed + 1)-th highest non-member) by chance.

    That is P(at least `hits` members among the `hits + allowed` highest of all), which is hypergeometric.
    """
    if hits == 0:
        return 1.0
    return float(stats.hypergeom.sf(hits - 1, members + others, members, hits + allowed))


def _reference(evidence: TableEvidence, pair: SinglePair) -> Points | None:
    real, limit = evidence.real, evidence.settings.limits.neighbour_rows
    # Reference rows that neither trained the generator nor are attacked.
    if real.validation is not None and real.validation.num_rows >= MIN_REFERENCE_ROWS:
        return evidence.points("validation", limit)
    rest = pair.other_train if limit is None else pair.other_train.slice(0, limit)
    return real.space.points(rest) if rest.num_rows >= MIN_REFERENCE_ROWS else None


def _on_outliers(
    pair: SinglePair, far_members: Floats, far_others: Floats, confidence: float, rng: np.random.Generator
) -> Estimate:
    """The nearest-row attack on the tenth of the rows that are farthest from real reference rows."""
    # Rare people are the easiest to recognise, and an average does not show them.
    edge = np.quantile(np.concatenate([far_members, far_others]), 0.9)
    members, others = far_members >= edge, far_others >= edge
    count = int(members.sum())
    if min(count, int(others.sum())) < MIN_OUTLIERS:
        return Estimate()
    attack = judge_scores(-pair.from_train[members, 0], -pair.from_holdout[others, 0], FPR)
    return Estimate(value=attack.hits / count, ci=rate_interval(attack, confidence, rng), reference=FPR)
