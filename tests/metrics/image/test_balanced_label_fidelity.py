"""Label fidelity, every class alike."""

import numpy as np
import pytest

from image_evidence import evidence, shuffled_labels, sides
from synthmill.metrics.image.balanced_label_fidelity import BalancedLabelFidelity
from synthmill.metrics.image.label_fidelity import LabelFidelity
from synthmill.metrics.lib.extractor import make_extractor
from synthmill.metrics.lib.image_evidence import ImageEvidence, Images, ImageSettings


def test_real_labels_are_right_and_shuffled_ones_are_chance() -> None:
    real = BalancedLabelFidelity().compute(evidence(sides()[2]))
    assert (real.value or 0.0) > 0.9
    assert real.metric == "image.balanced_label_fidelity"
    assert (real.aspects["ratio"].value or 0.0) == pytest.approx(1.0, abs=0.05)
    assert real.value == pytest.approx(np.mean(list(real.per_column.values())))
    wrong = BalancedLabelFidelity().compute(evidence(shuffled_labels(sides()[2])))
    assert (wrong.value or 1.0) < 0.2


def test_a_rare_class_that_is_never_shown_counts_half() -> None:
    """Zeros against all others, labels shuffled: nine of ten times the frequent label is right by chance."""
    train, holdout, other = (Images(side.pixels, (side.labels == 0).astype(np.int64)) for side in sides())
    extractor = make_extractor("classifier", train.pixels, train.labels, 2, seed=0)
    found = ImageEvidence(
        train, holdout, shuffled_labels(other), ("other", "zero"), extractor, ImageSettings()
    )
    assert (LabelFidelity().compute(found).aspects["ratio"].value or 0.0) > 0.75
    assert (BalancedLabelFidelity().compute(found).aspects["ratio"].value or 1.0) < 0.75


def test_a_side_with_hardly_any_images_of_a_class() -> None:
    few = sides()[2]
    assert few.labels is not None
    kept = few.take(few.labels != 1)
    one = few.take(np.flatnonzero(few.labels == 1)[:3])
    mixed = Images(np.concatenate([kept.pixels, one.pixels]), np.concatenate([kept.labels, one.labels]))  # type: ignore[list-item]
    assert "1" not in BalancedLabelFidelity().compute(evidence(mixed)).per_column


def test_no_class_with_enough_images() -> None:
    """Sixty images of ten classes."""
    result = BalancedLabelFidelity().compute(evidence(sides()[2].take(slice(0, 60))))
    assert result.status == "not_applicable"
    assert "10 images on both sides" in (result.reason or "")
