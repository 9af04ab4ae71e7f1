"""A codec of a table, column by column: what each column's own codec does, and where its codes and positions
stand in a row."""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
from torch import Tensor

from synthmill.data.columns import Float64, Int64, Rows
from synthmill.data.layout import DiscreteSpan, MixedLayout, NumericSpan
from synthmill.data.numeric import NumericCodec
from synthmill.data.places import MOST_IN_ALL, Places, UnevenError
from synthmill.data.profile import ColumnProfile
from synthmill.data.records import Columns


class Slot(NamedTuple):
    """A column's part of a batch."""

    codes: slice
    value: int | None
    """Column of the positions; None: it has none."""


class ColumnCodec(Protocol):
    """One column: its spans, and the way there and back."""

    profile: ColumnProfile
    kind: pa.DataType

    @property
    def spans(self) -> tuple[DiscreteSpan, ...]: ...
    def encode(self, array: pa.Array) -> tuple[list[Int64], Float64 | None]: ...
    def decode(self, codes: Int64, positions: Float64 | None, rows: Rows) -> pa.Array: ...
    def code_of(self, text: str) -> int | None: ...
    def levels(self) -> list[str] | None: ...
    def count_levels(self, array: pa.Array) -> list[int]: ...
    def tensors(self) -> dict[str, Tensor]: ...
    def to_json(self) -> dict[str, int]: ...


def layout_of(columns: list[ColumnCodec], rows: int) -> MixedLayout:
    discrete: list[DiscreteSpan] = []
    numeric: list[NumericSpan] = []
    for column in columns:
        if isinstance(column, NumericCodec) and column.segments:
            numeric.append(
                NumericSpan(column=column.profile.name, discrete=len(discrete), segments=column.segments)
            )
        discrete += column.spans
    return MixedLayout(discrete=tuple(discrete), numeric=tuple(numeric), rows=rows)


def slots_of(columns: list[ColumnCodec], layout: MixedLayout) -> list[Slot]:
    """Where each column's codes and positions stand in a batch."""
    value_at = {span.discrete: number for number, span in enumerate(layout.numeric)}
    slots, start = [], 0
    for column in columns:
        stop = start + len(column.spans)
        slots.append(Slot(slice(start, stop), value_at.get(start) if stop > start else None))
        start = stop
    return slots


def places_of_columns(sample: Iterable[tuple[ColumnCodec, Slot, pa.Array]]) -> dict[int, Places]:
    """Of the numeric spans whose columns can hold few different cells, and whose sampled ones (N,) are all
    among them: what each is encoded as."""
    few = [
        (column.num_places, slot.value, column, array)
        for column, slot, array in sample
        if slot.value is not None and isinstance(column, NumericCodec) and column.num_places
    ]
    found: dict[int, Places] = {}
    room = MOST_IN_ALL
    # The smallest first: as many columns as there is room for.
    for size, value, column, array in sorted(few, key=lambda one: one[:2]):
        if size <= room and column.place(array) is not None:
            found[value] = column.places()
            room -= size
    return found


def columns_of(
    rows: int, arrays: Iterable[tuple[ColumnCodec, Slot, pa.Array]], placed: Collection[int]
) -> Columns:
    """Columns of cells (rows,), encoded; of the `placed` numeric spans the places.

    Raises:
        UnevenError: a cell of such a column is none of its places.
    """
    codes: dict[int, Any] = {}
    values: dict[int, Any] = {}
    places: dict[int, Any] = {}
    for column, slot, array in arrays:
        value = slot.value
        if isinstance(column, NumericCodec) and value is not None and value in placed:
            found = column.place(array)
            if found is None:
                raise UnevenError(value)
            places[value] = found
            continue
        # Levels are looked up; what is no level of a column of levels is computed.
        levels = column.levelled(array) if isinstance(column, NumericCodec) and value is None else None
        own, positions = column.encode(array) if levels is None else ([levels], None)
        codes.update(zip(range(slot.codes.start, slot.codes.stop), own, strict=True))
        if value is not None:
            values[value] = positions
    return Columns(rows, codes, values, places)
