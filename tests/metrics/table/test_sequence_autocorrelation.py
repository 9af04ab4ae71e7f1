import pytest

from sequence_cases import judged, mixed_up
from synthmill.metrics.table.sequence_autocorrelation import SequenceAutocorrelation
from visits import visits


def test_like_sequences_are_as_near_as_real_ones() -> None:
    found = judged(SequenceAutocorrelation, visits(300, 3))
    assert found.value is not None
    assert found.reference is not None
    assert max(found.value, found.reference) < 0.15
    assert "mood" in found.per_column
    # AR(1) of 0.8 beside two plans whose means are three standard deviations apart.
    assert found.details["train"]["mood"]["1"] == pytest.approx(0.9, abs=0.05)


def test_independent_rows_are_seen() -> None:
    found = judged(SequenceAutocorrelation, mixed_up(visits(300, 3), "mood"))
    assert found.per_column["mood"] > 0.6


def test_columns_that_never_change_have_none() -> None:
    rows = visits(60, 3).drop_columns(["mood", "spend"])
    train = visits(60, 1).drop_columns(["mood", "spend"])
    found = judged(SequenceAutocorrelation, rows, train=train, holdout=None)
    assert found.status == "not_applicable"
