"""Summaries for charts: what stands in the bars of a column, and what counts as missing."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from synthmill.config import DataConfig
from synthmill.data.profile import profile_table
from synthmill.data.schema import ColumnRule
from synthmill.data.summary import summarise


def summary(values: pa.Array, rule: ColumnRule | None = None) -> dict[str, Any]:
    table = pa.table({"x": values})
    told = summarise(table, profile_table(table, {"x": rule} if rule else {}, DataConfig(source="x")))[
        "columns"
    ]["x"]
    found: dict[str, Any] = json.loads(json.dumps(told, allow_nan=False))
    return found


HOURS = np.arange(10_000) * 86_400 // 10_000


@pytest.mark.parametrize(
    ("kind", "per_second"),
    [
        (pa.time32("s"), 1),
        (pa.time32("ms"), 10**3),
        (pa.time64("us"), 10**6),
        (pa.time64("ns"), 10**9),
        (pa.duration("us"), 10**6),
    ],
)
def test_times_of_day_and_durations_stand_as_milliseconds(kind: pa.DataType, per_second: int) -> None:
    found = summary(
        pa.array(HOURS * per_second, pa.int32() if kind.bit_width == 32 else pa.int64()).cast(kind)
    )
    assert (found["temporal"], found["clock"]) == (True, True)
    assert (found["edges"][0], found["edges"][-1]) == pytest.approx((864_000, 85_536_000), rel=0.01)
    assert sum(found["shares"]) == pytest.approx(1)


def test_dates_stand_as_milliseconds_since_1970() -> None:
    found = summary(pa.array(HOURS % 1000, pa.int32()).cast(pa.date32()))
    assert (found["temporal"], found["clock"]) == (True, False)
    assert found["edges"][-1] == pytest.approx(990 * 86_400_000, rel=0.01)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_what_is_no_number_is_missing(kind: pa.DataType) -> None:
    values = np.random.default_rng(0).normal(size=1000).astype(kind.to_pandas_dtype())
    values[:300], values[300:400] = np.nan, np.inf
    found = summary(pa.array(values, kind))
    assert found["missing"] == 0.4
    assert sum(found["shares"]) == pytest.approx(0.6, abs=0.02)


def test_what_is_no_number_is_a_level_among_categories() -> None:
    found = summary(pa.array([1.0] * 60 + [float("nan")] * 40), ColumnRule(kind="categorical"))
    assert (found["missing"], found["levels"], found["shares"]) == (0.0, ["1", "nan"], [0.6, 0.4])
