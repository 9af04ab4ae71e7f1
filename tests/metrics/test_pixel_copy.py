"""Near copies, by pixels."""

import numpy as np

from picture_evidence import CLASSES, evidence, extractor, noisy, sides
from synthmill.metrics._pictures import PictureEvidence, Pictures, PictureSettings
from synthmill.metrics.pixel_copy import PixelCopy


def test_a_tenth_of_copies_is_found_and_other_real_pictures_are_none() -> None:
    train, _, other = sides()
    clean = PixelCopy().compute(evidence(other))
    assert (clean.value or 0.0) > 0.05
    copies = noisy(train.take(slice(0, 60)), 0.002)
    mixed = Pictures(np.concatenate([other.pixels, copies.pixels]), None)
    found = PixelCopy().compute(evidence(mixed))
    assert (found.value or 0.0) < 0.001
    assert (found.aspects["ratio"].value or 0.0) > 1.5


def test_few_copies_are_sought_among_all_real_pictures() -> None:
    found = PixelCopy().compute(evidence(sides()[0].take(slice(0, 60))))
    assert (found.value or 0.0) < 1e-6
    assert found.n == {"train": 599, "holdout": 599, "synthetic": 60}
    assert found.gate_n == 60


def test_pictures_that_occur_twice_are_evidence_for_neither_side() -> None:
    """Sixty blank pictures, which the split keeps on one side: a generator that draws blanks too repeats nobody."""
    train, holdout, other = sides()
    blank = np.zeros((60, 1, 8, 8), np.uint8)
    real = Pictures(np.concatenate([train.pixels, blank]), None)
    fresh = Pictures(np.concatenate([other.pixels, blank[:30]]), None)
    result = PixelCopy().compute(PictureEvidence(real, holdout, fresh, CLASSES, extractor(), PictureSettings()))
    assert (result.value or 0.0) > 0.05
    assert result.n["train"] == result.n["holdout"] == 599


def test_too_few_pictures_that_occur_once() -> None:
    train, holdout, other = sides()
    twice = Pictures(np.concatenate([train.pixels[:100]] * 2), None)
    result = PixelCopy().compute(PictureEvidence(twice, holdout, other, CLASSES, extractor(), PictureSettings()))
    assert result.status == "unavailable"
    assert "occur once" in (result.reason or "")
