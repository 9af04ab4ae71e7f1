"""Columns of numbers that can hold only few different cells: ages, codes, dates of some years, small prices.

Which cell a row has is then one short number, found by a subtraction, and what the cell is encoded as is
computed once a cell instead of once a row: on disk the number stands for a code and a position.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthmill.data.columns import Bool, Float64, Int64, Numbers

MOST_PLACES = 1 << 16
"""So many cells have numbers of two bytes."""
MOST_IN_ALL = 1 << 22
"""Places of all columns together, of which every process keeps what they are encoded as: 24 MiB."""


@dataclass(frozen=True)
class Places:
    """What each of the cells that a column can hold is encoded as."""

    codes: npt.NDArray[np.uint16]
    """(places,)."""
    values: npt.NDArray[np.float32]
    """Positions (places,)."""


class UnevenError(Exception):
    """A cell of a column that was taken for one with few places is none of these."""

    def __init__(self, value: int) -> None:
        """`value`: the column's numeric span."""
        super().__init__(value)
        self.value = value


class Grid:
    """Equal steps from the least to the largest number of a column, then points that stand apart from these,
    the two ends (means of numbers, which may be none of the steps), and missing."""

    def __init__(
        self, low: Any, high: Any, points: Numbers, *, step: int, decimals: int | None, kind: Any
    ) -> None:
        """`step` of whole numbers, `decimals` of floats, whose own type is the numpy type `kind`; numbers
        below `low` and above `high` count as these. Without `size` there is no such grid."""
        self.low, self.high = points.dtype.type(low), points.dtype.type(high)
        self._step, self._scale, self._kind = step, None if decimals is None else 10.0**decimals, kind
        self._first = 0.0 if self._scale is None else float(np.rint(self.low * self._scale))
        apart = points[(points < self.low) | (points > self.high)]
        self._apart = apart
        # A number beyond an end that is a point counts as near that point, and not as the point.
        self._is_open = not np.isin(self.low, points), not np.isin(self.high, points)
        self.size = 0
        """Of all places, missing included; 0: there are too many."""
        steps = self._steps(np.array([self.low, self.high]))
        even = MOST_PLACES if steps is None else int(steps[1]) + 1
        if even + len(apart) + 3 <= MOST_PLACES:
            self._even, self._ends = even, even + len(apart)
            self.size = self._ends + 3

    def cells(self) -> tuple[Numbers, Bool]:
        """The number of each place, and whether there is one, (places,) each."""
        steps = np.arange(self._even)
        numbers = self.low + steps * self._step if self._scale is None else self._at(steps)
        valid = np.arange(self.size) < self.size - 1
        others = [self.low, self.high, self.low]
        return np.concatenate([numbers, self._apart, others]).astype(self.low.dtype), valid

    def find(self, numbers: Numbers, valid: Bool) -> Int64 | None:
        """The place of each number (N,), missing where it is not `valid`; None: some have none."""
        is_whole = bool(valid.all())
        if not is_whole:
            numbers = np.where(valid, numbers, self.low)
        inside = np.clip(numbers, self.low, self.high)
        found = self._steps(inside)
        if found is None:
            return None
        if self._scale is not None:
            uneven = np.flatnonzero(self._at(found) != inside)
            ends = inside[uneven]
            if not ((ends == self.low) | (ends == self.high)).all():
                return None
            found[uneven] = self._ends + (ends == self.high)
        if len(self._apart) or not all(self._is_open):
            beyond = np.flatnonzero(inside != numbers)
            outer = numbers[beyond]
            at = np.searchsorted(self._apart, outer)
            is_point = np.append(self._apart, self.low)[at] == outer
            if not (is_point | np.where(outer < self.low, *self._is_open)).all():
                return None
            found[beyond[is_point]] = self._even + at[is_point]
        return found if is_whole else np.where(valid, found, self.size - 1)

    def _steps(self, inside: Numbers) -> Int64 | None:
        """Steps from the least number to each (N,), of floats to the nearest; None: too many, or some
        whole numbers lie between two."""
        if self._scale is not None:
            if not (self.high - self.low) * self._scale < MOST_PLACES:
                return None
            places = np.rint(inside * self._scale)
            places -= self._first
            return places.astype(np.int64)
        # Of ends that are far apart the difference may be too large for the type.
        if float(self.high) - float(self.low) >= float(self._step) * MOST_PLACES:
            return None
        steps: Int64 = inside - self.low
        if self._step == 1:
            return steps
        steps, rest = np.divmod(steps, self._step)
        return None if rest.any() else steps

    def _at(self, steps: Int64) -> Float64:
        """The floats of the column's own type that lie so many steps from the least number (N,)."""
        assert self._scale is not None, "whole numbers have steps"
        # A whole number over a power of ten is rounded once, as reading its digits is.
        numbers = (steps + self._first) / self._scale
        return numbers.astype(self._kind, copy=False).astype(np.float64, copy=False)
