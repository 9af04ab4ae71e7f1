"""Class coverage."""

import numpy as np
import pytest

from image_evidence import evidence, extractor, sides, without
from synthmill.metrics.image.class_coverage import ClassCoverage
from synthmill.metrics.lib.image_evidence import ImageEvidence, Images, ImageSettings, LabelRows


def test_real_images_have_every_class_and_two_dropped_ones_are_missed() -> None:
    real = ClassCoverage().compute(evidence(sides()[2]))
    assert (real.value, real.reference) == (1.0, 1.0)
    dropped = ClassCoverage().compute(evidence(without(sides()[2], 3, 8)))
    assert dropped.value == 0.8
    assert [name for name, seen in dropped.per_column.items() if not seen] == ["3", "8"]


def binary(rare: int, synthetic: list[int]) -> ImageEvidence:
    """600 training images, `rare` of them of class b; counted synthetic rows by class."""
    train, holdout, other = (
        Images(side.pixels, (np.arange(len(side)) < rare).astype(np.int64)) for side in sides()
    )
    rows = {"synthetic": LabelRows(np.array(synthetic))}
    return ImageEvidence(train, holdout, other, ("a", "b"), extractor(), ImageSettings(), label_rows=rows)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rare", "synthetic", "value"),
    [(60, [600, 0], 0.5), (60, [599, 1], 1.0), (60, [190, 0], 1.0), (4, [60_000, 0], 1.0)],
    ids=["dropped", "once", "too few rows to expect 20", "too rare to count"],
)
def test_every_row_counts_and_rare_classes_do_not(rare: int, synthetic: list[int], value: float) -> None:
    assert ClassCoverage().compute(binary(rare, synthetic)).value == value


def test_no_class_that_is_expected() -> None:
    assert ClassCoverage().compute(binary(300, [10, 10])).status == "not_applicable"
