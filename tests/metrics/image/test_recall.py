"""Recall of images."""

from image_evidence import class_means, evidence, sides, without
from synthmill.metrics.image.recall import ImageRecall


def test_what_is_never_generated_is_out_of_reach() -> None:
    real, part, means = (
        ImageRecall().compute(evidence(p)).value or 0.0
        for p in (sides()[2], without(sides()[2], 0, 1, 2, 3, 4), class_means(sides()[2]))
    )
    assert real > 0.8
    assert part < 0.75 * real
    assert means < 0.1
