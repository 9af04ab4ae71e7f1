"""Bounds, point masses, decimals and steps of a column of numbers: what many rows share, never one row's
value."""

import numpy as np
import pyarrow as pa

from synthmill.data.columns import Int64, Numbers, is_temporal, to_int64
from synthmill.data.resolution import COARSE, Resolution
from synthmill.errors import DataError

POINT_ROWS = 20
MAX_RARE_SHARE = 0.01
MAX_DECIMALS = 9
_UNIT_SECONDS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_CLOCK_STEPS_SECONDS = (86400, 3600, 1800, 900, 60, 1)

Number = int | float


def scaled_bound(name: str, bound: Number | str, scale: int, kind: pa.DataType) -> Number:
    """A stated bound in the column's own numbers; dates and times count in their unit."""
    limits = np.iinfo(np.int64)
    if isinstance(bound, str):
        try:
            moment = pa.scalar(bound).cast(pa.timestamp("us"))
            own = pa.array([moment.as_py()], pa.timestamp("us")).cast(kind, safe=False)
            return int(to_int64(own)[0])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise DataError(
                f"column {name!r} holds {kind}, whose bounds are no dates; state numbers for minimum"
                f" and maximum",
                field="data.schema",
            ) from None
    if pa.types.is_floating(kind):
        return float(bound)
    return int(min(max(round(bound * 10**scale), limits.min), limits.max))


def outer_bound(outer: Numbers, public: Number | None, step: int, decimals: int | None) -> Number:
    """The stated bound, or the mean of the 5 outermost values on the column's own grid."""
    if public is not None:
        return public
    take = len(outer)
    if outer.dtype == np.int64:
        return int((2 * sum(outer.tolist()) + take * step) // (2 * take * step) * step)
    mean = float(np.mean(outer))
    return mean if decimals is None else round(mean, decimals)


def frequent_points(
    distinct: Numbers,
    counts: Int64,
    shared: Int64,
    rows: int,
    min_rows: int,
    resolution: Resolution = COARSE,
    *,
    is_few: bool,
) -> tuple[Numbers, bool]:
    """The values that get a code of their own, and whether they are all there is; `shared` are the people
    that have each, `is_few` says whether `distinct` are all and few enough to be levels."""
    rare = shared < min_rows
    if is_few and not rare.all() and counts[rare].sum() <= MAX_RARE_SHARE * counts.sum():
        return distinct[~rare], True
    frequent = np.flatnonzero((counts >= max(POINT_ROWS, resolution.point_share * rows)) & ~rare)
    most = frequent[np.argsort(-counts[frequent], kind="stable")[: resolution.most_points]]
    return distinct[np.sort(most)], False


def fewest_decimals(distinct: Numbers, kind: pa.DataType, at_least: int = 0) -> int | None:
    """The fewest digits after the point, but so many at least, that write every value; None above 9 or for
    integers."""
    if distinct.dtype == np.int64:
        return None
    own = kind.to_pandas_dtype()
    for digits in range(at_least, MAX_DECIMALS + 1):
        with np.errstate(over="ignore", invalid="ignore"):
            off = np.round(distinct, digits) - distinct
        # Most numbers with few decimals are rounded to themselves.
        if not off.any() or (np.abs(off) <= 4 * np.finfo(own).eps * np.abs(distinct)).all():
            return digits
    return None


def common_step(distinct: Numbers, kind: pa.DataType) -> int:
    """The largest familiar unit all integral values are multiples of: powers of ten, or clock units for
    times."""
    if distinct.dtype != np.int64 or len(distinct) < POINT_ROWS:
        return 1
    return next((step for step in familiar_steps(kind) if not (distinct % step).any()), 1)


def familiar_steps(kind: pa.DataType) -> list[int]:
    """Units of whole numbers, dates and times, the largest first; 1 is not among them."""
    if is_temporal(kind):
        unit = _UNIT_SECONDS.get(getattr(kind, "unit", ""), 0) or (1000 if kind == pa.date64() else 0)
        units = [seconds * unit for seconds in _CLOCK_STEPS_SECONDS] + [unit // 1000, unit // 10**6]
        return [step for step in units if step > 1]
    return [10**power for power in range(6, 0, -1)]
