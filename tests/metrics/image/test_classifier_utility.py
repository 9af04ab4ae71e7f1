"""What a classifier learns from synthetic images."""

from image_evidence import CLASSES, evidence, extractor, shuffled_labels, sides, without
from synthmill.metrics.image.classifier_utility import ClassifierUtility
from synthmill.metrics.lib.image_evidence import ImageEvidence, ImageSettings


def test_other_real_images_teach_as_much_and_wrong_labels_nothing() -> None:
    real = ClassifierUtility().compute(evidence(sides()[2], learner_seeds=1))
    assert 0.95 < (real.value or 0.0) < 1.05
    assert (real.aspects["tstr"].reference or 0.0) > 0.9
    assert (
        ClassifierUtility().compute(evidence(shuffled_labels(sides()[2]), learner_seeds=1)).value or 0.0
    ) < 0.4


def test_one_class_is_nothing_to_tell_apart() -> None:
    ones = [without(side, 0, *range(2, 10)) for side in sides()]
    result = ClassifierUtility().compute(ImageEvidence(*ones, CLASSES, extractor(), ImageSettings()))
    assert result.status == "unavailable"
    assert "a single class" in result.reason
