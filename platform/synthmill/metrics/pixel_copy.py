"""Synthetic pictures suspiciously close to training pictures, between pixels."""

from synthmill.metrics._picture_copies import copy_result
from synthmill.metrics._pictures import PictureEvidence, PictureMetric
from synthmill.metrics.base import Result


class PixelCopy(PictureMetric):
    """The near-copy test of `privacy.near_copy_pvalue`, distances between pixels."""

    name = "privacy.pixel_copy_pvalue"
    title = "Near copies, by pixels"
    question = "Do synthetic pictures come suspiciously close to training pictures, pixel by pixel?"
    axis = "privacy"
    goal = "maximize"
    bounds = (0.0, 1.0)
    needs = ("holdout",)
    profile = "quick"
    by_feature = False
    advice = "The generator memorises. Do not publish; train a smaller model, stop earlier, use more pictures, or DiffAugment."

    def compute(self, evidence: PictureEvidence) -> Result:
        return copy_result(self, evidence, evidence.flat_pixels)
