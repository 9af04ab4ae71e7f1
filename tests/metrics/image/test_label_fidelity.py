"""Label fidelity."""

from image_evidence import evidence, shuffled_labels, sides
from synthmill.metrics.image.label_fidelity import LabelFidelity


def test_real_labels_are_right_and_shuffled_ones_are_chance() -> None:
    real = LabelFidelity().compute(evidence(sides()[2]))
    assert real.value is not None
    assert real.value > 0.9
    assert real.metric == "image.label_fidelity"
    assert set(real.per_column) == {str(digit) for digit in range(10)}
    wrong = LabelFidelity().compute(evidence(shuffled_labels(sides()[2])))
    assert wrong.value is not None
    assert wrong.value < 0.2
