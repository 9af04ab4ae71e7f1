"""Counts of a training table for charts: how each column is distributed, never what one row holds.

Histogram bounds are means of at least 5 neighbouring values, and a bar of fewer than 5 rows is left out;
where a table has people with several rows each, those are 5 people.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import Float64, Int64, flat, is_temporal, is_text, to_int64, valid_rows
from synthmill.data.people import NEIGHBOURS, count_people, count_sharers, in_order, picked
from synthmill.data.profile import TableProfile

FORMAT = "synthmill.summary/1"
BINS = 20
TAIL = 0.01
MOST_LEVELS = 12
_FIRST_ROWS = 1_000
_UNITS_IN_MS = {"s": 1e-3, "ms": 1.0, "us": 1e3, "ns": 1e6}


def summarise(train: pa.Table, profile: TableProfile, people: Int64 | None = None) -> dict[str, Any]:
    """JSON data: for each column its bars (`levels` or `edges`, and `shares` of all rows) and its share of
    missing values.

    Dates and times stand as milliseconds since 1970, times of day since midnight, durations as their length.
    Identifiers and constants have no bars. NaN and infinities are missing, but for a column of categories,
    where they are levels. `people` are whose the rows are (N,), as of `people_of`.
    """
    columns = {
        column.name: _column(_present(flat(train[column.name]), column.kind), column.kind, people)
        for column in profile.columns
    }
    return {"format": FORMAT, "rows": train.num_rows, "columns": columns}


def _present(array: pa.Array, kind: str) -> pa.Array:
    if kind == "categorical" or not pa.types.is_floating(array.type):
        return array
    return pc.if_else(pc.is_finite(array), array, pa.scalar(None, array.type))


def _column(array: pa.Array, kind: str, people: Int64 | None) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": kind, "missing": share_of(array.null_count, len(array))}
    if kind in ("identifier", "constant") or array.null_count == len(array):
        return told
    people = picked(people, valid_rows(array))
    if is_text(array.type) or pa.types.is_boolean(array.type) or _few(array, people):
        return told | _levels(array, people)
    return told | _histogram(array, people)


def _few(array: pa.Array, people: Int64 | None) -> bool:
    """Numbers with so few different values, each frequent, that they are shown one by one."""
    # The first thousand nearly always tell.
    some = (array[:_FIRST_ROWS], array)
    if is_temporal(array.type) or any(pc.count_distinct(part).as_py() > MOST_LEVELS for part in some):
        return False
    return bool(_counted(array, people)[2].min() >= NEIGHBOURS)


def _counted(array: pa.Array, people: Int64 | None) -> tuple[list[Any], Int64, Int64]:
    """The values that are there, the rows of each, and the people that have it."""
    coded = array.drop_null().dictionary_encode()
    codes = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    size = len(coded.dictionary)
    return (
        coded.dictionary.to_pylist(),
        np.bincount(codes, minlength=size),
        count_sharers(codes, size, people),
    )


def _levels(array: pa.Array, people: Int64 | None) -> dict[str, Any]:
    return level_bars(*_counted(array.cast(pa.string()), people), rows=len(array))


def level_bars(
    values: list[Any], counts: Int64, shared: Int64, *, rows: int, uncounted: int = 0
) -> dict[str, Any]:
    """The bars of levels (D,), the rows and people of each, and rows of others that nobody counted."""
    ordered = sorted(
        zip(counts.tolist(), values, shared.tolist(), strict=True), key=lambda level: (-level[0], level[1])
    )
    shown = [level for level in ordered if level[2] >= NEIGHBOURS][:MOST_LEVELS]
    rest = int(counts.sum()) - sum(count for count, *_ in shown) + uncounted
    return {
        "levels": [value for _, value, _ in shown],
        "shares": [share_of(count, rows) for count, *_ in shown],
        "other": share_of(rest, rows) if rest >= NEIGHBOURS else 0.0,
    }


def _histogram(array: pa.Array, people: Int64 | None) -> dict[str, Any]:
    temporal, clock = is_temporal(array.type), _is_clock(array.type)
    values = _numbers(array.drop_null())
    values, people = in_order(values, people)
    if count_people(people, len(values)) < NEIGHBOURS:
        return {}
    low, high = _averaged(values, people, TAIL), _averaged(values, people, 1 - TAIL)
    edges = np.linspace(low, max(high, low + 1e-9), BINS + 1)
    bars = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, BINS - 1)
    counts, shared = np.bincount(bars, minlength=BINS), count_sharers(bars, BINS, people)
    shares = [
        share_of(int(count), len(array)) if few >= NEIGHBOURS else 0.0
        for count, few in zip(counts, shared, strict=True)
    ]
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


def _averaged(ordered: Float64, people: Int64 | None, rank: float) -> float:
    """The mean of the 5 values, or of 1% of them if that is more, around a rank; of more where they are of
    fewer than 5 people."""
    width = max(NEIGHBOURS, len(ordered) // 100)
    while True:
        start = int(np.clip(round(rank * len(ordered)) - width // 2, 0, len(ordered) - width))
        around = np.arange(start, start + width)
        if count_people(picked(people, around), width) >= NEIGHBOURS:
            return float(ordered[around].mean())
        width = min(2 * width, len(ordered))


def share_of(count: int, rows: int) -> float:
    """Rounded to what charts show."""
    return round(count / max(1, rows), 4)
