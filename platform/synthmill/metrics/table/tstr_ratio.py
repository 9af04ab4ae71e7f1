"""How much of what a model learns from real rows it also learns from synthetic ones."""

import numpy as np

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.intervals import bootstrap_weights, percentile_interval
from synthmill.metrics.lib.learners import CHANCE, SCORE
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric
from synthmill.metrics.lib.utility import Arm, combine, predict, score_replicates, why_not


class TstrRatio(TableMetric):
    """(TSTR - chance) / (TRTR - chance): train on synthetic against train on real, equal rows, both tested on
    the holdout.

    Gradient boosting. Scores: ROC AUC (macro one-against-rest for several classes), R2 for a number. Chance
    is 0.5 and 0.
    """

    name = "utility.tstr_ratio"
    title = "Train on synthetic, test on real"
    question = "Does a model trained on synthetic rows do as well on real ones?"
    axis = "utility"
    goal = "maximize"
    needs = ("holdout", "target")
    advice = (
        "Models trained on these rows do worse than on real ones. Check the target's distribution and its"
        " strongest pairs (tabular.pair_gap)."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        reason = why_not(evidence)
        if reason:
            return self.unavailable(reason)
        settings, task = evidence.settings, evidence.real.features.task
        assert task is not None
        limit = settings.limits.classifier_rows
        train, test, fake = (evidence.labelled(name, limit) for name in ("train", "holdout", "synthetic"))
        # Equal rows, or the ratio would measure how many there are.
        size = min(len(train), len(fake))
        seeds = tuple(range(settings.seed, settings.seed + settings.learner_seeds))
        arms = [
            Arm("gradient_boosting", train.head(size), seeds, key="train"),
            Arm("gradient_boosting", fake.head(size), seeds),
        ]
        real_p, fake_p = predict(evidence, arms, test)
        rng = evidence.rng(20)
        weights = bootstrap_weights(len(test), settings.replicates, rng)
        picks = rng.integers(len(seeds), size=(settings.replicates, len(seeds)))
        trtr = combine(score_replicates(evidence, real_p, test, weights), picks)
        tstr = combine(score_replicates(evidence, fake_p, test, weights), picks)
        gain = trtr - CHANCE[task]
        n = {"train": size, "synthetic": size, "holdout": len(test)}
        real_ci, fake_ci = (percentile_interval(scores[1:], settings.confidence) for scores in (trtr, tstr))
        aspects = {
            "trtr": Estimate(value=float(trtr[0]), ci=real_ci),
            "tstr": Estimate(value=float(tstr[0]), ci=fake_ci, reference=float(trtr[0])),
        }
        # A ratio to a gain that may be 0 is noise, however many rows there are.
        drawn = gain[1:][np.isfinite(gain[1:])]
        if not len(drawn) or np.quantile(drawn, 0.025) <= 0:
            reason = (
                "training on real rows does not beat chance on the holdout, so there is nothing to compare"
                " with"
            )
            return self.unavailable(reason, n=n, gate_n=len(test), aspects=aspects)
        ratio = (tstr - CHANCE[task]) / gain
        return self.result(
            value=float(ratio[0]),
            ci=percentile_interval(ratio[1:], settings.confidence),
            reference=1.0,
            n=n,
            gate_n=min(size, len(test)),
            method=(
                f"{SCORE[task]} of gradient boosting, {len(seeds)} learner seeds; interval: bootstrap of test"
                " rows and seeds; reference: training on real rows"
            ),
            aspects=aspects,
        )
