"""Does adding these rows to the training rows make downstream models better? A dataset's headline figure."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.baselines import MORE_REAL, NOTHING, SYNTHETIC, Recipe, arms
from synthmill.metrics.lib.columns import Floats
from synthmill.metrics.lib.intervals import bootstrap_weights, holm, percentile_interval
from synthmill.metrics.lib.learners import SCORE, Labelled, scores
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric
from synthmill.metrics.lib.utility import MIN_TEST_ROWS, Arm, combine, predict, score_replicates, why_not

HARM_LEVEL = 0.005


class LiftDataset(TableMetric):
    """score(train + synthetic) - score(train) on the holdout, at the learner that does best without synthetic
    rows.

    That learner is chosen on the validation rows, so that the choice does not bend what the holdout says;
    without enough of them, on the holdout, which `method` then says.

    The interval holds two variances, learner seeds and test rows; it says nothing of another run of the
    generator or of other training rows (`utility.lift_lowdata` does). As many synthetic rows as training rows
    are added, or all if there are fewer. Every learner and baseline is in `details`; `harm_bound` is the
    upper end of a one-sided 99.5% interval for the best learner, Bonferroni-corrected for the number of
    learners; below 0 means harmful. `reference` is the lift of the validation rows, real rows that were not
    trained on.
    """

    name = "utility.lift_dataset"
    title = "Augmentation lift"
    question = "Do models get better when these rows are added to the real ones?"
    axis = "utility"
    goal = "maximize"
    on_whole_table = True
    needs = ("holdout", "target")
    advice = (
        "Adding these rows makes models worse or does not help. Full training sets rarely gain; try the"
        " low-data lift, rare classes (--balance) or fewer synthetic rows, and compare with the baselines,"
        " which cost nothing."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        reason = why_not(evidence)
        if reason:
            return self.unavailable(reason)
        settings, task = evidence.settings, evidence.real.features.task
        assert task is not None
        limit = settings.limits.classifier_rows
        train, test = evidence.labelled("train", limit), evidence.labelled("holdout", limit)
        # As many as training rows: more would measure the number of rows beside their worth.
        fake = evidence.labelled("synthetic", limit).head(len(train))
        more = None if evidence.real.validation is None else evidence.labelled("validation", limit)
        recipes = arms(evidence.real.features, train, fake, settings.seed, more)
        by_learner = [_run(evidence, learner, recipes) for learner in settings.learners]
        # Harm is tested for each learner; Holm allows for their number.
        adjusted = holm([lift.harm_p for lift in by_learner])
        chosen, where = _choose(evidence, train, more)
        # By the score without synthetic rows, so that the choice does not favour the lift.
        best = max(by_learner, key=lambda lift: chosen.get(lift.learner, lift.scores[NOTHING][0]))
        # Bonferroni over the learners, as the best of them is judged.
        quantile = float(stats.norm.ppf(1 - HARM_LEVEL / len(by_learner)))
        aspects = {lift.learner: lift.estimate(settings.confidence) for lift in by_learner}
        aspects |= {
            f"baseline {arm}": Estimate(value=lift, ci=ci)
            for arm, (lift, ci) in best.against.items()
            if arm != SYNTHETIC
        }
        aspects["best"] = best.estimate(settings.confidence)
        aspects["harm_bound"] = Estimate(value=best.lift + quantile * best.error)
        rows = {"train": len(train), "synthetic": len(fake), "holdout": len(test)}
        return self.result(
            **aspects["best"].model_dump(),
            n={**rows, "learner seeds": settings.learner_seeds},
            gate_n=min(rows.values()),
            method=(
                f"{SCORE[task]}; best of {len(by_learner)} learners on {where}; interval: learner seeds,"
                " bootstrap of test rows"
            ),
            aspects=aspects,
            details={
                "best_learner": best.learner,
                "score": SCORE[task],
                "variance": "learner seeds and test rows; generator and training rows fixed",
                "learners": {
                    f.learner: {**f.record(), "harm_p_holm": p}
                    for f, p in zip(by_learner, adjusted, strict=True)
                },
            },
        )


def _choose(
    evidence: TableEvidence, train: Labelled, validation: Labelled | None
) -> tuple[dict[str, float], str]:
    """(score of each learner on the validation rows, their name); no scores where they can't choose."""
    settings, task = evidence.settings, evidence.real.features.task
    assert task is not None
    too_few = validation is None or len(validation) < MIN_TEST_ROWS
    if validation is None or too_few or len(np.unique(validation.y)) < 2:
        return {}, "holdout rows"
    plan = [Arm(learner, train, (settings.seed,)) for learner in settings.learners]
    once = np.ones((1, len(validation)))
    predictions = predict(evidence, plan, validation)
    chosen = {
        learner: float(scores(task, validation.y, prediction, once)[0])
        for learner, [prediction] in zip(settings.learners, predictions, strict=True)
    }
    return chosen, "validation rows"


@dataclass(frozen=True)
class Found:
    """What one learner gives on every arm."""

    learner: str
    scores: dict[str, tuple[float, Any]]
    against: dict[str, tuple[float, Any]]
    """Arm -> lift over nothing and its interval."""
    lift: float
    error: float

    @property
    def harm_p(self) -> float:
        """One-sided p of the hypothesis that the lift is at least 0."""
        return float(stats.norm.cdf(self.lift / self.error)) if self.error > 0 else float(self.lift >= 0)

    def estimate(self, confidence: float) -> Estimate:
        """The lift of the synthetic rows, beside that of more real rows."""
        half = float(stats.norm.ppf(0.5 + confidence / 2)) * self.error
        reference = self.against[MORE_REAL][0] if MORE_REAL in self.against else None
        return Estimate(value=self.lift, ci=(self.lift - half, self.lift + half), reference=reference)

    def record(self) -> dict[str, Any]:
        """For the report."""
        lifts = {arm: {"lift": lift, "ci": ci and list(ci)} for arm, (lift, ci) in self.against.items()}
        scores = {arm: {"score": score, "ci": ci and list(ci)} for arm, (score, ci) in self.scores.items()}
        return {"scores": scores, "lifts": lifts}


def _run(evidence: TableEvidence, learner: str, recipes: dict[str, Recipe]) -> Found:
    settings = evidence.settings
    seeds = tuple(range(settings.seed, settings.seed + settings.learner_seeds))
    test = evidence.labelled("holdout", settings.limits.classifier_rows)
    plan = []
    for arm, recipe in recipes.items():
        # The baselines are there to compare with, and cost as much as the figure itself for each seed.
        own_seeds = seeds if arm in (NOTHING, SYNTHETIC) else seeds[: settings.baseline_seeds]
        key = "train" if arm == NOTHING else None
        plan.append(Arm(learner, recipe.train, own_seeds, recipe.weights, key))
    rng = evidence.rng(30)
    weights = bootstrap_weights(len(test), settings.replicates, rng)
    picks = rng.integers(1 << 30, size=(settings.replicates, len(seeds)))
    scored = [score_replicates(evidence, p, test, weights) for p in predict(evidence, plan, test)]
    tables = dict(zip(recipes, scored, strict=True))
    totals = {arm: combine(table, picks) for arm, table in tables.items()}
    lifts = {}
    for arm in (arm for arm in recipes if arm != NOTHING):
        # Paired: what the seed and the drawn test rows do to both arms cancels in the difference.
        shared = min(len(tables[arm]), len(tables[NOTHING]))
        difference = tables[arm][:shared] - tables[NOTHING][:shared]
        lifts[arm] = combine(difference, picks[:, :shared])

    def intervals(drawn: dict[str, Floats]) -> dict[str, tuple[float, Any]]:
        level = settings.confidence
        return {arm: (float(v[0]), percentile_interval(v[1:], level)) for arm, v in drawn.items()}

    synthetic = lifts[SYNTHETIC]
    # A bootstrap draw without one of the classes has no AUC.
    error = float(np.nanstd(synthetic[1:], ddof=1))
    return Found(learner, intervals(totals), intervals(lifts), lift=float(synthetic[0]), error=error)
