import numpy as np

from sequence_cases import judged, mixed_up
from synthmill.metrics.table.sequence_transitions import SequenceTransitions
from visits import MOVES, visits


def test_like_sequences_are_as_near_as_real_ones() -> None:
    found = judged(SequenceTransitions, visits(300, 3))
    assert found.value is not None
    assert found.reference is not None
    assert max(found.value, found.reference) < 0.06
    assert set(found.per_column) == {"stage"}


def test_independent_rows_are_as_far_as_the_chain_is_from_its_mean() -> None:
    found = judged(SequenceTransitions, mixed_up(visits(300, 3), "stage"))
    values, vectors = np.linalg.eig(MOVES.T)
    share = np.real(vectors[:, np.argmax(np.real(values))])
    share /= share.sum()
    expected = float(share @ (0.5 * np.abs(MOVES - share).sum(1)))
    assert found.value is not None
    assert abs(found.value - expected) < 0.05
