"""A column written in several ways: each value in one of them, as often as in the source."""

import functools
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import UInt64, to_int64
from synthmill.data.forms.base import Form, form_from_json
from synthmill.data.mixing import mix


class SeveralForm(Form):
    """Forms that agree in what they mean, with the share of rows that each has."""

    form: Literal["several"] = "several"
    forms: tuple[dict[str, Any], ...]
    shares: tuple[float, ...]

    @functools.cached_property
    def parts(self) -> tuple[Form, ...]:
        """The forms."""
        return tuple(form_from_json(data) for data in self.forms)

    @property
    def group(self) -> str:
        return self.parts[0].group

    @property
    def example(self) -> str:
        return " or ".join(part.example for part in self.parts)

    def parse(self, texts: pa.Array) -> pa.Array:
        """What the first form that writes a text so reads in it, or else the first that reads it at all."""
        read = [part.parse(texts) for part in self.parts]
        kind = common_type([array.type for array in read])
        exact = [
            pc.if_else(pc.equal(part.write(array), texts), _cast(array, kind), pa.scalar(None, kind))
            for part, array in zip(self.parts, read, strict=True)
        ]
        return pc.coalesce(*exact, *(_cast(array, kind) for array in read))

    def write(self, typed: pa.Array, noise: UInt64 | None = None) -> pa.Array:
        if noise is None:
            numbers = typed.cast(pa.float64()).fill_null(0) if pa.types.is_floating(typed.type) else None
            noise = (
                np.asarray(numbers).view(np.uint64)
                if numbers is not None
                else to_int64(typed).view(np.uint64)
            )
        draws = (mix(noise, _KEY) >> np.uint64(11)) * 2.0**-53
        chosen = np.searchsorted(np.cumsum(self.shares)[:-1], draws, side="right")
        texts = [part.write(typed) for part in self.parts]
        return pc.choose(pa.array(chosen.astype(np.int64)), *texts)


_KEY = 0x666F726D


def common_type(kinds: list[pa.DataType]) -> pa.DataType:
    """The type that holds the values of all; times in UTC where one is aware."""
    first = kinds[0]
    if all(kind == first for kind in kinds):
        return first
    if all(pa.types.is_timestamp(kind) or pa.types.is_date(kind) for kind in kinds):
        units = [kind.unit for kind in kinds if pa.types.is_timestamp(kind)]
        finest = max(units, key=("s", "ms", "us", "ns").index)
        aware = any(pa.types.is_timestamp(kind) and kind.tz for kind in kinds)
        return pa.timestamp(finest, "UTC" if aware else None)
    if all(pa.types.is_time(kind) for kind in kinds):
        return pa.time64("us")
    return pa.float64()


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_date(array.type) and pa.types.is_timestamp(kind):
        return array.cast(pa.timestamp(kind.unit)).cast(kind)
    return array.cast(kind)
