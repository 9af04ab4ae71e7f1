"""Columns whose numbers are learnt in another way than they are stored: times of a zone by its clock on the
wall,
unsigned integers beyond 2**63 around their middle."""

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import valid_rows

View = Literal["local", "unsigned"]
_HALF = np.uint64(1 << 63)


def view_of(array: pa.Array) -> View | None:
    """How a column of training rows is best learnt; None: as it is."""
    kind = array.type
    if pa.types.is_timestamp(kind) and kind.tz not in (None, "UTC", "Etc/UTC", "GMT", "+00:00"):
        return "local"
    if pa.types.is_uint64(kind) and (pc.max(array).as_py() or 0) >= 1 << 63:
        return "unsigned"
    return None


def viewed_type(kind: pa.DataType, view: View | None) -> pa.DataType:
    """The type that a column is learnt in."""
    if view == "local":
        return pa.timestamp(kind.unit)
    return pa.int64() if view == "unsigned" else kind


def to_view(array: pa.Array, view: View | None) -> pa.Array:
    """A column as it is learnt (N,)."""
    if view == "local":
        return pc.local_timestamp(array)
    if view == "unsigned":
        numbers = np.asarray(array.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.uint64)
        return pa.array((numbers ^ _HALF).view(np.int64), mask=~valid_rows(array))
    return array


def from_view(array: pa.Array, view: View | None, kind: pa.DataType) -> pa.Array:
    """The inverse of `to_view`. An hour that occurs twice is the first, one that is left out the next that
    is there."""
    if view == "local":
        return pc.assume_timezone(array, kind.tz, ambiguous="earliest", nonexistent="latest").cast(kind)
    if view == "unsigned":
        numbers = np.asarray(array.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
        return pa.array(numbers.view(np.uint64) ^ _HALF, mask=~valid_rows(array))
    return array
