"""Evidence on sequences for tests of their metrics: like ones, and ones that are spoilt in a stated way."""

import numpy as np
import pyarrow as pa

from evidence import computed, look
from synthmill.metrics.base import Metric, Result
from synthmill.metrics.lib.sequences import SequenceColumns
from visits import visits

COLUMNS = SequenceColumns(("customer",), "when")


def judged(metric: type[Metric], synthetic: pa.Table, **options: object) -> Result:
    """The metric's result on synthetic sequences against 300 training and 200 holdout ones."""
    given = {"train": visits(300, 1), "holdout": visits(200, 2), "sequence": COLUMNS, **options}
    evidence = look(synthetic, target=None, kinds={"customer": "identifier"}, **given)
    return computed(evidence, metric)[metric.name]


def mixed_up(table: pa.Table, *names: str) -> pa.Table:
    """Columns whose cells are dealt out anew over all rows."""
    rng = np.random.default_rng(0)
    for name in names:
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, table[name].take(pa.array(rng.permutation(table.num_rows))))
    return table
