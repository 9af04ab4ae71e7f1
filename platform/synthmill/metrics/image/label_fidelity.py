"""Whether an image shows what its label says."""

from synthmill.metrics.base import Result
from synthmill.metrics.lib.image_evidence import ImageEvidence, ImageMetric, shown_labels
from synthmill.metrics.lib.intervals import wilson


class LabelFidelity(ImageMetric):
    """Accuracy, on synthetic images, of a classifier of the training images (GAN-test, arXiv 1807.09499)."""

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
        (right, count), (real_right, real_count) = evidence.once(shown_labels)
        method = (
            "one small convolutional classifier of the training images; Wilson interval; reference: holdout"
            " images"
        )
        result = self.beside_training(
            evidence,
            int(right.sum()) / int(count.sum()),
            int(real_right.sum()) / int(real_count.sum()),
            wilson(int(right.sum()), int(count.sum()), evidence.confidence),
            method,
        )
        shares = {
            name: int(right[code]) / int(count[code])
            for code, name in enumerate(evidence.classes)
            if count[code]
        }
        return result.model_copy(update={"per_column": shares})
