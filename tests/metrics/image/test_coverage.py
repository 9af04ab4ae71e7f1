"""Coverage of images."""

from image_evidence import class_means, evidence, sides, without
from synthmill.metrics.image.coverage import ImageCoverage


def test_missing_classes_and_collapse_are_seen() -> None:
    real = ImageCoverage().compute(evidence(sides()[2]))
    assert real.value is not None
    assert abs(real.value - (real.reference or 0.0)) < 0.08
    part = ImageCoverage().compute(evidence(without(sides()[2], 0, 1, 2)))
    assert part.value is not None
    assert part.value < real.value - 0.15
    collapsed = ImageCoverage().compute(evidence(class_means(sides()[2])))
    assert collapsed.value is not None
    assert collapsed.value < 0.2
    assert collapsed.ci is not None
    assert collapsed.ci[0] <= collapsed.value <= collapsed.ci[1]
