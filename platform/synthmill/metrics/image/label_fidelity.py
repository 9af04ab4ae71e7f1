"""Whether an image shows what its label says."""

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.classifier import accuracy
from synthmill.metrics.lib.image_evidence import ImageEvidence, ImageMetric
from synthmill.metrics.lib.intervals import wilson


class LabelFidelity(ImageMetric):
    """Accuracy, on synthetic images, of a classifier of the training images (GAN-test, arXiv 1807.09499);
    reference: on the holdout."""

    name = "image.label_fidelity"
    title = "Images that show their label"
    question = "Do synthetic images show what their label says?"
    axis = "fidelity"
    goal = "maximize"
    bounds = (0.0, 1.0)
    needs = ("holdout", "classes")
    profile = "quick"
    by_feature = False
    advice = (
        "Images don't show their class. Train longer; with a GAN, check that classes reach both networks;"
        " with few images, use a VAE."
    )

    def compute(self, evidence: ImageEvidence) -> Result:
        if few := self.too_few(evidence):
            return few
        model = evidence.classifier("train", 0, len(evidence.sides["train"]))
        synthetic, holdout = evidence.images("synthetic"), evidence.images("holdout")
        assert synthetic.labels is not None
        assert holdout.labels is not None
        right, count = accuracy(model, synthetic.pixels, synthetic.labels)
        real_right, real_count = accuracy(model, holdout.pixels, holdout.labels)
        value, reference = right / count, real_right / real_count
        per_class = {}
        for code, name in enumerate(evidence.classes):
            chosen = synthetic.take(synthetic.labels == code)
            if len(chosen):
                per_class[name] = accuracy(model, chosen.pixels, chosen.labels)[0] / len(chosen)  # type: ignore[arg-type]
        return self.named(
            evidence,
            value=value,
            ci=wilson(right, count, evidence.settings.confidence),
            reference=reference,
            method=(
                "one small convolutional classifier of the training images; Wilson interval; reference:"
                " holdout images"
            ),
            aspects={"ratio": Estimate(value=value / reference if reference else None, reference=1.0)},
            per_column=per_class,
        )
