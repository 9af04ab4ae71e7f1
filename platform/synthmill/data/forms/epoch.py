"""Seconds or milliseconds since 1970, where a schema file says that numbers are times."""

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import UInt64
from synthmill.data.forms.base import Form


class EpochForm(Form):
    """A whole number of units."""

    form: Literal["epoch"] = "epoch"
    unit: Literal["s", "ms", "us", "ns"] = "s"

    @property
    def group(self) -> str:
        return "date"

    @property
    def example(self) -> str:
        return str(
            self.write(pa.array([1706711400], pa.timestamp("s", "UTC")).cast(pa.timestamp(self.unit, "UTC")))[
                0
            ]
        )

    def parse(self, texts: pa.Array) -> pa.Array:
        """timestamp in UTC."""
        whole = pc.match_substring_regex(texts, r"^-?\d{1,18}$")
        numbers = pc.if_else(whole, texts, pa.scalar(None, pa.string())).cast(pa.int64())
        return numbers.cast(pa.timestamp(self.unit, "UTC"))

    def write(self, typed: pa.Array, noise: UInt64 | None = None) -> pa.Array:
        """Texts of timestamps."""
        return typed.cast(pa.timestamp(self.unit, "UTC"), safe=False).cast(pa.int64()).cast(pa.string())


def stated(datetime_format: str | None) -> EpochForm | None:
    """The form of `epoch_s` and the like."""
    known: dict[str, Literal["s", "ms", "us", "ns"]] = {
        "epoch_s": "s",
        "epoch_ms": "ms",
        "epoch_us": "us",
        "epoch_ns": "ns",
    }
    unit = known.get(datetime_format or "")
    return None if unit is None else EpochForm(unit=unit)


def seems(values: pa.Array) -> str | None:
    """`epoch_s` or `epoch_ms` where all whole numbers are times of 2001 to 2100 in it."""
    numbers = np.asarray(values.drop_null().cast(pa.int64()))
    for name, scale in (("epoch_s", 1), ("epoch_ms", 1000)):
        if len(numbers) and numbers.min() >= 978_307_200 * scale and numbers.max() < 4_102_444_800 * scale:
            return name
    return None
