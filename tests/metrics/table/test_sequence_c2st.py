from sequence_cases import judged, mixed_up
from synthmill.metrics.table.sequence_c2st import SequenceClassifierTest
from visits import visits


def test_like_sequences_can_not_be_told() -> None:
    found = judged(SequenceClassifierTest, visits(300, 3))
    assert found.value is not None
    assert found.reference is not None
    assert abs(found.value - 0.5) < 0.08
    assert abs(found.reference - 0.5) < 0.1


def test_sequences_of_independent_rows_can() -> None:
    found = judged(SequenceClassifierTest, mixed_up(visits(300, 3), "mood", "stage"))
    assert found.value is not None
    assert found.value > 0.9


def test_few_sequences_are_too_few() -> None:
    assert judged(SequenceClassifierTest, visits(30, 3)).status == "unavailable"
