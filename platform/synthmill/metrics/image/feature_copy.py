"""Synthetic images suspiciously close to training images, between features."""

from synthmill.metrics.base import Result
from synthmill.metrics.lib.image_copies import copy_result
from synthmill.metrics.lib.image_evidence import ImageEvidence, ImageMetric


class FeatureCopy(ImageMetric):
    """The near-copy test of `privacy.near_copy_pvalue`, distances between features."""

    name = "privacy.feature_copy_pvalue"
    title = "Near copies, by features"
    question = "Do synthetic images come suspiciously close to training images in what they show?"
    axis = "privacy"
    goal = "maximize"
    bounds = (0.0, 1.0)
    needs = ("holdout",)
    profile = "quick"
    advice = (
        "The generator memorises. Do not publish; train a smaller model, stop earlier, use more images, or"
        " DiffAugment."
    )

    def compute(self, evidence: ImageEvidence) -> Result:
        return copy_result(self, evidence, evidence.features)
