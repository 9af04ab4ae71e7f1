"""Near copies, by pixels."""

import numpy as np

from image_evidence import CLASSES, evidence, extractor, noisy, sides
from synthmill.metrics.image.pixel_copy import PixelCopy
from synthmill.metrics.lib.image_evidence import ImageEvidence, Images, ImageSettings


def test_a_tenth_of_copies_is_found_and_other_real_images_are_none() -> None:
    train, _, other = sides()
    clean = PixelCopy().compute(evidence(other))
    assert (clean.value or 0.0) > 0.05
    copies = noisy(train.take(slice(0, 60)), 0.002)
    mixed = Images(np.concatenate([other.pixels, copies.pixels]), None)
    found = PixelCopy().compute(evidence(mixed))
    assert (found.value or 0.0) < 0.001
    assert (found.aspects["ratio"].value or 0.0) > 1.5


def test_few_copies_are_sought_among_all_real_images() -> None:
    found = PixelCopy().compute(evidence(sides()[0].take(slice(0, 60))))
    assert (found.value or 0.0) < 1e-6
    assert found.n == {"train": 599, "holdout": 599, "synthetic": 60}
    assert found.gate_n == 60


def test_images_that_occur_twice_are_evidence_for_neither_side() -> None:
    """Sixty blank images, which the split keeps on one side: a generator that draws blanks too repeats
    nobody."""
    train, holdout, other = sides()
    blank = np.zeros((60, 1, 8, 8), np.uint8)
    real = Images(np.concatenate([train.pixels, blank]), None)
    fresh = Images(np.concatenate([other.pixels, blank[:30]]), None)
    result = PixelCopy().compute(ImageEvidence(real, holdout, fresh, CLASSES, extractor(), ImageSettings()))
    assert (result.value or 0.0) > 0.05
    assert result.n["train"] == result.n["holdout"] == 599


def test_too_few_images_that_occur_once() -> None:
    train, holdout, other = sides()
    twice = Images(np.concatenate([train.pixels[:100]] * 2), None)
    result = PixelCopy().compute(ImageEvidence(twice, holdout, other, CLASSES, extractor(), ImageSettings()))
    assert result.status == "unavailable"
    assert "occur once" in (result.reason or "")
