import pyarrow as pa
import pyarrow.compute as pc

from sequence_cases import judged
from synthmill.metrics.lib.sequences import SequenceColumns
from synthmill.metrics.table.sequence_gaps import SequenceGaps
from visits import visits


def test_like_sequences_are_as_near_as_real_ones() -> None:
    found = judged(SequenceGaps, visits(300, 3))
    assert found.value is not None
    assert found.reference is not None
    assert max(found.value, found.reference) < 0.08


def test_faster_rows_are_seen() -> None:
    rows = visits(300, 3)
    start = pc.min(rows["when"]).cast(pa.int64())
    seconds = pc.add(start, pc.divide(pc.subtract(rows["when"].cast(pa.int64()), start), 4))
    fast = rows.set_column(rows.schema.get_field_index("when"), "when", seconds.cast(pa.timestamp("s")))
    found = judged(SequenceGaps, fast)
    assert found.value is not None
    assert found.value > 0.3


def test_without_an_order_there_are_no_gaps() -> None:
    found = judged(SequenceGaps, visits(30, 3), sequence=SequenceColumns(("customer",), None))
    assert found.status == "not_applicable"
