"""Whether pictures of every class show what their label says, rare classes as much as frequent ones."""

import numpy as np

from synthmill.metrics._classifier import SmallClassifier, predict
from synthmill.metrics._columns import Floats, Ints
from synthmill.metrics._intervals import normal_interval
from synthmill.metrics._pictures import PictureEvidence, PictureMetric, Pictures
from synthmill.metrics.base import Estimate, Result

LEAST_OF_CLASS = 10


class BalancedLabelFidelity(PictureMetric):
    """Mean of `image.label_fidelity` over classes with 10 synthetic and 10 holdout pictures; reference: the holdout's.

    Where one picture in ten has the rarer of two classes, shuffled labels are right in four of five; here in half.
    """

    name = "image.balanced_label_fidelity"
    title = "Pictures that show their label, by class"
    question = "Do synthetic pictures of every class show what their label says?"
    axis = "fidelity"
    goal = "maximize"
    bounds = (0.0, 1.0)
    needs = ("holdout", "classes")
    profile = "quick"
    by_feature = False
    advice = "Pictures of some classes don't show them; rare ones fail first. Balance the classes in training, or train longer."

    def compute(self, evidence: PictureEvidence) -> Result:
        if few := self.too_few(evidence):
            return few
        model = evidence.classifier("train", 0, len(evidence.sides["train"]))
        (right, count), (real_right, real_count) = (
            _by_class(model, evidence.pictures(side), len(evidence.classes)) for side in ("synthetic", "holdout")
        )
        chosen = np.flatnonzero((count >= LEAST_OF_CLASS) & (real_count >= LEAST_OF_CLASS))
        if not len(chosen):
            why = f"no class has {LEAST_OF_CLASS} pictures on both sides; image.label_fidelity looks at all classes together"
            return self.missing("not_applicable", why)
        shares, real_shares = right[chosen] / count[chosen], real_right[chosen] / real_count[chosen]
        value, reference = float(shares.mean()), float(real_shares.mean())
        low, high = normal_interval(value, _variance(right[chosen], count[chosen]), evidence.settings.confidence)
        return self.named(
            evidence,
            value=value,
            ci=(max(low, 0.0), min(high, 1.0)),
            reference=reference,
            n={"holdout": evidence.size, "synthetic": evidence.size, "classes": len(chosen)},
            method=f"mean over classes with at least {LEAST_OF_CLASS} pictures a side; normal interval, two of each outcome added; "
            "reference: holdout pictures",
            aspects={"ratio": Estimate(value=value / reference if reference else None, reference=1.0)},
            per_column={evidence.classes[code]: float(share) for code, share in zip(chosen, shares, strict=True)},
        )


def _by_class(model: SmallClassifier, pictures: Pictures, classes: int) -> tuple[Ints, Ints]:
    """(classes,): pictures that are classified as labelled, and pictures."""
    assert pictures.labels is not None
    right = pictures.labels[predict(model, pictures.pixels) == pictures.labels]
    return np.bincount(right, minlength=classes), np.bincount(pictures.labels, minlength=classes)


def _variance(right: Ints, count: Ints) -> float:
    """Of the mean of shares (Agresti and Coull 1998 for each)."""
    share: Floats = (right + 2) / (count + 4)
    return float((share * (1 - share) / (count + 4)).sum() / len(count) ** 2)
