import numpy as np
import pyarrow as pa

from evidence import look, people
from synthmill.metrics.table.internal_duplicates import InternalDuplicates


def test_copies_of_copies_are_seen():
    fresh = people(500, 5)
    repeated = pa.concat_tables([fresh, fresh.slice(0, 250), fresh.slice(0, 250)])
    result = InternalDuplicates().compute(look(repeated))
    assert 0.4 < result.value < 0.6
    assert result.ci[0] > 0.3


def test_a_discrete_table_has_as_many_duplicates_as_its_size_explains():
    def dice(rows, seed):
        return pa.table(
            {
                name: np.random.default_rng([seed, i]).integers(0, 6, rows).astype(str)
                for i, name in enumerate("abc")
            }
        )

    result = InternalDuplicates().compute(
        look(dice(50_000, 1), train=dice(500, 2), holdout=dice(300, 3), target=None, kinds={})
    )
    assert abs(result.value) < 0.05
    assert result.aspects["share"].value > 0.2
    assert abs(result.reference) < 0.06
