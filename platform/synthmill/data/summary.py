"""Counts of a training table for charts: how each column is distributed, never what one row holds.

Histogram bounds are means of at least 5 neighbouring values, and a bar of fewer than 5 rows is left out.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import Float64, flat, is_temporal, is_text, to_int64
from synthmill.data.people import NEIGHBOURS
from synthmill.data.profile import TableProfile

FORMAT = "synthmill.summary/1"
BINS = 20
TAIL = 0.01
MOST_LEVELS = 12
_UNITS_IN_MS = {"s": 1e-3, "ms": 1.0, "us": 1e3, "ns": 1e6}


def summarise(train: pa.Table, profile: TableProfile) -> dict[str, Any]:
    """JSON data: for each column its bars (`levels` or `edges`, and `shares` of all rows) and its share of missing values.

    Dates and times stand as milliseconds since 1970, times of day since midnight, durations as their length. Identifiers and
    constants have no bars. NaN and infinities are missing, but for a column of categories, where they are levels.
    """
    columns = {column.name: _column(_present(flat(train[column.name]), column.kind), column.kind) for column in profile.columns}
    return {"format": FORMAT, "rows": train.num_rows, "columns": columns}


def _present(array: pa.Array, kind: str) -> pa.Array:
    if kind == "categorical" or not pa.types.is_floating(array.type):
        return array
    return pc.if_else(pc.is_finite(array), array, pa.scalar(None, array.type))


def _column(array: pa.Array, kind: str) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": kind, "missing": _share(array.null_count, len(array))}
    if kind in ("identifier", "constant") or array.null_count == len(array):
        return told
    if is_text(array.type) or pa.types.is_boolean(array.type) or _few(array):
        return told | _levels(array)
    return told | _histogram(array)


def _few(array: pa.Array) -> bool:
    """Numbers with so few different values, each frequent, that they are shown one by one."""
    if is_temporal(array.type) or pc.count_distinct(array).as_py() > MOST_LEVELS:
        return False
    return bool(pc.min(pc.value_counts(array.drop_null()).field("counts")).as_py() >= NEIGHBOURS)


def _levels(array: pa.Array) -> dict[str, Any]:
    counted = pc.value_counts(array.cast(pa.string()).drop_null())
    pairs = sorted(
        zip(counted.field("counts").to_pylist(), counted.field("values").to_pylist(), strict=True), key=lambda pair: (-pair[0], pair[1])
    )
    shown = [pair for pair in pairs if pair[0] >= NEIGHBOURS][:MOST_LEVELS]
    rest = sum(count for count, _ in pairs) - sum(count for count, _ in shown)
    return {
        "levels": [value for _, value in shown],
        "shares": [_share(count, len(array)) for count, _ in shown],
        "other": _share(rest, len(array)) if rest >= NEIGHBOURS else 0.0,
    }


def _histogram(array: pa.Array) -> dict[str, Any]:
    temporal, clock = is_temporal(array.type), _is_clock(array.type)
    values = np.sort(_numbers(array.drop_null()))
    if len(values) < NEIGHBOURS:
        return {}
    low, high = _averaged(values, TAIL), _averaged(values, 1 - TAIL)
    edges = np.linspace(low, max(high, low + 1e-9), BINS + 1)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    shares = [_share(int(count), len(array)) if count >= NEIGHBOURS else 0.0 for count in counts]
    return {
        "edges": [float(round(edge)) if temporal and not clock else float(f"{edge:.6g}") for edge in edges],
        "shares": shares,
        "temporal": temporal,
        "clock": clock,
    }


def _is_clock(kind: pa.DataType) -> bool:
    """Whether values are times of day or durations."""
    return bool(pa.types.is_time(kind) or pa.types.is_duration(kind))


def _numbers(array: pa.Array) -> Float64:
    if _is_clock(array.type):
        return to_int64(array) / _UNITS_IN_MS[array.type.unit]
    if is_temporal(array.type):
        array = array.cast(pa.timestamp("ms", getattr(array.type, "tz", None)), safe=False).cast(pa.int64())
    numbers: Float64 = array.to_numpy(zero_copy_only=False).astype(np.float64)
    return numbers


def _averaged(ordered: Float64, rank: float) -> float:
    """The mean of the 5 values, or of 1% of them if that is more, around a rank."""
    width = max(NEIGHBOURS, len(ordered) // 100)
    start = int(np.clip(round(rank * len(ordered)) - width // 2, 0, len(ordered) - width))
    return float(ordered[start : start + width].mean())


def _share(count: int, rows: int) -> float:
    return round(count / max(1, rows), 4)
