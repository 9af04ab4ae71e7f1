"""The bytes of an encoded row on disk: as few as can be without losing a bit.

A record is positions as float32 and whole numbers of one, two or four bytes. A number holds the codes of
several spans (it is `code0 + width0 * (code1 + width1 * ...)`, a mixed radix), or stands for a place of a
column that has few (`places.py`), and so for a code and a position at once. Reading looks both up in a table.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from synthmill.data.batch import Batch
from synthmill.data.layout import MixedLayout
from synthmill.data.places import Places

Bytes: TypeAlias = npt.NDArray[np.uint8]
Array: TypeAlias = npt.NDArray[Any]
_KINDS = {"int32": 1 << 31, "uint16": 1 << 16, "uint8": 1 << 8}
"""Whole numbers, the widest first, and how many values each has."""


@dataclass(frozen=True)
class Columns:
    """Encoded rows, column by column."""

    rows: int
    codes: Mapping[int, Array]
    """Discrete span -> codes (rows,)."""
    values: Mapping[int, Array]
    """Numeric span -> positions (rows,)."""
    places: Mapping[int, Array]
    """Numeric span -> places (rows,), instead of its codes and positions."""

    @classmethod
    def of(cls, batch: Batch) -> "Columns":
        codes, values = batch["codes"].numpy(), batch["values"].numpy()
        return cls(batch.num_rows, dict(enumerate(codes.T)), dict(enumerate(values.T)), {})

    def take(self, rows: slice) -> "Columns":
        """Some rows that follow each other."""
        parts = [
            {at: array[rows] for at, array in of.items()} for of in (self.codes, self.values, self.places)
        ]
        return Columns(rows.stop - rows.start, *parts)


@dataclass(frozen=True)
class Number:
    """A whole number of the record."""

    spans: tuple[int, ...]
    """Discrete spans whose codes it holds."""
    widths: tuple[int, ...]
    size: int
    """So many values it has."""
    value: int | None
    """Numeric span whose places it holds."""
    codes: tuple[Array, ...] | None
    """Of each span, the code that each value stands for (size,); None: the value itself."""
    positions: Array | None

    @property
    def kind(self) -> str:
        return min((kind for kind, most in _KINDS.items() if self.size <= most), key=_KINDS.__getitem__)

    @classmethod
    def of_spans(cls, spans: tuple[int, ...], widths: tuple[int, ...]) -> "Number":
        size = math.prod(widths)
        if len(spans) == 1:
            return cls(spans, widths, size, None, None, None)
        rest, codes = np.arange(size), []
        for width in widths:
            rest, code = np.divmod(rest, width)
            codes.append(code.astype(np.uint8 if width <= 1 << 8 else np.uint16))
        return cls(spans, widths, size, None, tuple(codes), None)

    @classmethod
    def of_places(cls, span: int, value: int, places: Places) -> "Number":
        size = len(places.codes)
        return cls((span,), (size,), size, value, (places.codes,), places.values)

    def write(self, columns: Columns, out: Array) -> None:
        """The numbers of rows, into `out` (N,)."""
        if self.value is not None:
            out[:] = columns.places[self.value]
            return
        number = columns.codes[self.spans[-1]]
        if len(self.spans) > 1:
            number = number.astype(self.kind)
            for span, width in zip(self.spans[-2::-1], self.widths[-2::-1], strict=True):
                number *= width
                number += columns.codes[span].astype(self.kind, copy=False)
        out[:] = number

    def code(self, span: int, numbers: Array) -> Array:
        """The codes of a span (N,) in numbers (N,)."""
        if self.codes is None:
            return numbers
        return self.codes[self.spans.index(span)].take(numbers)


@dataclass(frozen=True)
class Record:
    """Where the numbers of a row stand in its bytes; follows from the layout and the places."""

    dtype: np.dtype[Any]
    numbers: Mapping[str, list[Number]]
    """Kind -> numbers of that kind, in order."""
    values: tuple[int, ...]
    """The numeric spans whose positions are in the record."""
    num_codes: int
    num_values: int
    spans: tuple[int, ...]
    """The category spans, which can be looked up by code."""
    widths: tuple[int, ...]
    """Number of codes of each of these."""

    @classmethod
    def of(cls, layout: MixedLayout, places: Mapping[int, Places]) -> "Record":
        placed = {layout.numeric[value].discrete: value for value in places}
        found = [Number.of_places(span, value, places[value]) for span, value in placed.items()]
        for spans in _shared({i: one.width for i, one in enumerate(layout.discrete) if i not in placed}):
            found.append(Number.of_spans(spans, tuple(layout.discrete[span].width for span in spans)))
        numbers = {kind: [one for one in found if one.kind == kind] for kind in _KINDS}
        numbers = {kind: of for kind, of in numbers.items() if of}
        values = tuple(value for value in range(len(layout.numeric)) if value not in places)
        # The widest first, and a whole number of words: every number is aligned.
        fields = [("values", "<f4", (len(values),))] if values else []
        fields += [(kind, np.dtype(kind).newbyteorder("<").str, (len(of),)) for kind, of in numbers.items()]
        size = np.dtype(fields).itemsize
        if size % 4:
            fields.append(("padding", "|u1", (4 - size % 4,)))
        spans = tuple(i for i, one in enumerate(layout.discrete) if one.role == "category")
        widths = tuple(layout.discrete[span].width for span in spans)
        shape = len(layout.discrete), len(layout.numeric)
        return cls(np.dtype(fields), numbers, values, *shape, spans, widths)

    def write(self, columns: Columns, out: Array) -> None:
        """Rows as records, into `out` (N,)."""
        for kind, numbers in self.numbers.items():
            for at, number in enumerate(numbers):
                number.write(columns, out[kind][:, at])
        for at, value in enumerate(self.values):
            out["values"][:, at] = columns.values[value]

    def read(self, records: Bytes) -> Batch:
        """The batch, as the codec made it, of the bytes of records (N, bytes of a record)."""
        rows = records.reshape(-1).view(self.dtype)
        codes = np.empty((len(rows), self.num_codes), np.int64)
        values = np.empty((len(rows), self.num_values), np.float32)
        for kind, numbers in self.numbers.items():
            for at, number in enumerate(numbers):
                found = rows[kind][:, at]
                for span in number.spans:
                    codes[:, span] = number.code(span, found)
                if number.positions is not None:
                    values[:, number.value] = number.positions.take(found)
        if self.values:
            values[:, self.values] = rows["values"]
        return Batch(codes=torch.from_numpy(codes), values=torch.from_numpy(values))

    def column(self, records: Array, span: int) -> Array:
        """The codes of a category span, in a narrow type, of records (N,)."""
        for kind, numbers in self.numbers.items():
            for at, number in enumerate(numbers):
                if span in number.spans:
                    return np.ascontiguousarray(number.code(span, records[kind][:, at]))
        raise AssertionError(f"{span} is no span")


def _shared(widths: Mapping[int, int]) -> list[tuple[int, ...]]:
    """Which spans share a number: the widest first, each with the first others that have room for it (first
    fit, decreasing), so that all take few bytes."""
    bins: list[tuple[list[int], int]] = []
    for span in sorted(widths, key=lambda span: -widths[span]):
        width = widths[span]
        most = 1 << 8 if width <= 1 << 8 else 1 << 16
        for at, (spans, size) in enumerate(bins):
            if size * width <= (1 << 16 if size > 1 << 8 else most):
                bins[at] = ([*spans, span], size * width)
                break
        else:
            bins.append(([span], width))
    return [tuple(spans) for spans, _ in bins]


def placed_bytes(places: Mapping[int, Places]) -> bytes:
    """What places are encoded as, for `places_of`."""
    return b"".join(
        one.codes.astype("<u2").tobytes() + one.values.astype("<f4").tobytes() for one in places.values()
    )


def places_of(data: bytes, sizes: Mapping[int, int]) -> dict[int, Places]:
    """The places that `placed_bytes` wrote, by numeric span and how many it has."""
    found, at = {}, 0
    for span, size in sizes.items():
        codes = np.frombuffer(data, "<u2", size, at).astype(np.uint16)
        found[span] = Places(codes, np.frombuffer(data, "<f4", size, at + 2 * size).astype(np.float32))
        at += 6 * size
    return found
