"""Train and holdout rows that occur once, equally many, with their distances to the synthetic rows."""

from dataclasses import dataclass

import pyarrow as pa

from synthmill.metrics.lib.columns import Floats
from synthmill.metrics.lib.neighbours import nearest
from synthmill.metrics.lib.sample import draw
from synthmill.metrics.lib.space import Points
from synthmill.metrics.lib.table_evidence import TableEvidence

K = 5


@dataclass(frozen=True)
class SinglePair:
    """Points of both sides (N, D) and of the synthetic rows (M, D)."""

    train: Points
    holdout: Points
    synthetic: Points
    from_train: Floats
    """(N, K): distances of each train row to its nearest synthetic rows, ascending."""
    from_holdout: Floats
    other_train: pa.Table
    """The single train rows that were not drawn."""


def single_pair(evidence: TableEvidence) -> SinglePair | None:
    """Drawn and measured once; None with fewer than 2 rows a side or fewer than K synthetic rows."""
    return evidence.once(_draw_pair)


def _draw_pair(evidence: TableEvidence) -> SinglePair | None:
    sides, space = evidence.real.single_sides, evidence.real.space
    assert sides is not None
    limit, seed = evidence.settings.limits.neighbour_rows, evidence.settings.seed
    # Equal sides, so that by chance a copy is as likely to hit either.
    size = min(sides[0].num_rows, sides[1].num_rows, limit or sides[0].num_rows)
    synthetic = evidence.points("synthetic", limit)
    if size < 2 or len(synthetic) < K or not space.axes:
        return None
    # Another seed than that of `table()`: these rows are chosen among the single ones.
    train = draw(sides[0], None, seed + 2)
    a, b = space.points(train.slice(0, size)), space.points(draw(sides[1], size, seed + 2))
    return SinglePair(
        a, b, synthetic, nearest(a, synthetic, K)[0], nearest(b, synthetic, K)[0], train.slice(size)
    )
