"""Near copies, by features."""

import numpy as np

from image_evidence import evidence, noisy, sides
from synthmill.metrics.image.feature_copy import FeatureCopy
from synthmill.metrics.lib.image_evidence import Images


def test_a_tenth_of_copies_is_found_and_other_real_images_are_none() -> None:
    train, _, other = sides()
    clean = FeatureCopy().compute(evidence(other))
    assert (clean.value or 0.0) > 0.05
    copies = noisy(train.take(slice(0, 60)), 0.002)
    mixed = Images(np.concatenate([other.pixels, copies.pixels]), None)
    found = FeatureCopy().compute(evidence(mixed))
    assert (found.value or 0.0) < 0.001
    assert (found.aspects["ratio"].value or 0.0) > 1.5


def test_few_copies_are_sought_among_all_real_images() -> None:
    found = FeatureCopy().compute(evidence(sides()[0].take(slice(0, 60))))
    assert (found.value or 0.0) < 1e-6
    assert found.n["train"] == 599
