"""How much of what a classifier learns from real images it also learns from synthetic ones."""

import numpy as np
from scipy import stats

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.classifier import accuracy
from synthmill.metrics.lib.image_evidence import ImageEvidence, ImageMetric


class ClassifierUtility(ImageMetric):
    """CAS (arXiv 1905.10887): holdout accuracy after synthetic images over that after as many real ones."""

    name = "image.tstr_ratio"
    title = "Classifier trained on synthetic images"
    question = "Does a classifier trained on synthetic images do as well on real ones?"
    axis = "utility"
    goal = "maximize"
    bounds = (0.0, None)
    needs = ("holdout", "classes")
    by_feature = False
    advice = (
        "Classifiers trained on these images do worse than on real ones. Check image.label_fidelity and"
        " image.coverage by class."
    )

    def compute(self, evidence: ImageEvidence) -> Result:
        holdout = evidence.images("holdout", len(evidence.sides["holdout"]))
        sizes = [len(evidence.sides["train"]), len(evidence.sides["synthetic"])]
        count = min(sizes + ([evidence.settings.limit] if evidence.settings.limit else []))
        if min(count, len(holdout)) < 50:
            return self.unavailable(
                f"only {min(count, len(holdout))} images to train or test with; 50 are needed"
            )
        assert holdout.labels is not None
        if len(np.unique(holdout.labels)) < 2:
            return self.unavailable("the holdout images have a single class: there is nothing to tell apart")
        scores = []
        # Both arms with the same seeds and the same number of images.
        for seed in range(evidence.settings.learner_seeds):
            pair = [
                accuracy(evidence.classifier(side, 1 + seed, count), holdout.pixels, holdout.labels)[0]
                for side in ("synthetic", "train")
            ]
            scores.append([right / len(holdout) for right in pair])
        tstr, trtr = np.array(scores).T
        ratio = float(tstr.mean() / trtr.mean())
        # Two sources of chance: who is in the holdout (binomial, paired scores are at most that wide) and the
        # classifier's seed.
        by_seed = tstr.var(ddof=1) / len(tstr) if len(tstr) > 1 else 0.0
        spread = tstr.mean() * (1 - tstr.mean()) / len(holdout) + by_seed
        half = float(stats.norm.ppf(0.5 + evidence.confidence / 2)) * float(np.sqrt(spread)) / trtr.mean()
        return self.named(
            evidence,
            value=ratio,
            ci=(ratio - half, ratio + half),
            reference=1.0,
            n={"train": count, "synthetic": count, "holdout": len(holdout)},
            gate_n=min(count, len(holdout)),
            method=(
                f"small convolutional classifier, {len(tstr)} seeds; interval from the holdout's size and the"
                " seeds"
            ),
            aspects={
                "tstr": Estimate(value=float(tstr.mean()), reference=float(trtr.mean())),
                "trtr": Estimate(value=float(trtr.mean())),
            },
        )
