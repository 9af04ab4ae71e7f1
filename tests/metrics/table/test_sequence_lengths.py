import pyarrow as pa
import pyarrow.compute as pc

from sequence_cases import judged
from synthmill.metrics.table.sequence_lengths import SequenceLengths
from visits import visits


def test_like_sequences_are_as_near_as_real_ones() -> None:
    found = judged(SequenceLengths, visits(300, 3))
    assert found.value is not None
    assert found.value < 0.12
    assert found.reference is not None
    assert found.reference < 0.12
    assert found.n == {"train": 300, "holdout": 200, "synthetic": 300}


def test_sequences_that_are_cut_are_seen() -> None:
    rows = visits(300, 3, shuffled=False)
    kept = (
        rows.filter(pc.less(pa.array(range(rows.num_rows)), 10**9))
        .group_by("customer")
        .aggregate([(name, "first") for name in rows.column_names if name != "customer"])
    )
    names = ["customer", *(name for name in rows.column_names if name != "customer")]
    found = judged(SequenceLengths, kept.rename_columns(names).select(rows.column_names))
    assert found.value == 1.0
    assert found.aspects["mean_ratio"].value < 0.5


def test_few_sequences_and_none_say_so() -> None:
    assert judged(SequenceLengths, visits(10, 3)).status == "unavailable"
    assert judged(SequenceLengths, visits(30, 3), sequence=None).status == "not_applicable"
