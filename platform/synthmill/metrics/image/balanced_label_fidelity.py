"""Whether images of every class show what their label says, rare classes as much as frequent ones."""

import numpy as np

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.columns import Floats
from synthmill.metrics.lib.image_evidence import ImageEvidence, ImageMetric, shown_labels
from synthmill.metrics.lib.intervals import normal_interval

LEAST_OF_CLASS = 10


class BalancedLabelFidelity(ImageMetric):
    """Mean of `image.label_fidelity` over classes with 10 synthetic and 10 holdout images; reference: the
    holdout's.

    Where one image in ten has the rarer of two classes, shuffled labels are right in four of five; here in
    half.
    """

    name = "image.balanced_label_fidelity"
    title = "Images that show their label, by class"
    question = "Do synthetic images of every class show what their label says?"
    axis = "fidelity"
    goal = "maximize"
    bounds = (0.0, 1.0)
    needs = ("holdout", "classes")
    profile = "quick"
    by_feature = False
    advice = (
        "Images of some classes don't show them; rare ones fail first. Balance the classes in training, or"
        " train longer."
    )

    def compute(self, evidence: ImageEvidence) -> Result:
        if few := self.too_few(evidence):
            return few
        (right, count), (real_right, real_count) = evidence.once(shown_labels)
        # A class of few images would weigh as much as one of thousands and be all noise.
        chosen = np.flatnonzero((count >= LEAST_OF_CLASS) & (real_count >= LEAST_OF_CLASS))
        if not len(chosen):
            why = (
                f"no class has {LEAST_OF_CLASS} images on both sides; image.label_fidelity looks at all"
                " classes together"
            )
            return self.not_applicable(why)
        shares, real_shares = right[chosen] / count[chosen], real_right[chosen] / real_count[chosen]
        value, reference = float(shares.mean()), float(real_shares.mean())
        # Two of each outcome added (Agresti and Coull 1998): a class all of whose few images are right would
        # have no variance.
        share: Floats = (right[chosen] + 2) / (count[chosen] + 4)
        variance = float((share * (1 - share) / (count[chosen] + 4)).sum() / len(chosen) ** 2)
        low, high = normal_interval(value, variance, evidence.confidence)
        return self.named(
            evidence,
            value=value,
            ci=(max(low, 0.0), min(high, 1.0)),
            reference=reference,
            n={"holdout": evidence.size, "synthetic": evidence.size, "classes": len(chosen)},
            method=(
                f"mean over classes with at least {LEAST_OF_CLASS} images a side; normal interval, two of"
                " each outcome added; reference: holdout images"
            ),
            aspects={"ratio": Estimate(value=value / reference if reference else None, reference=1.0)},
            per_column={
                evidence.classes[code]: float(share) for code, share in zip(chosen, shares, strict=True)
            },
        )
