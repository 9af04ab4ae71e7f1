"""Where many numbers stand among few sorted ones: what `np.searchsorted` answers, several times as fast.

A binary search of random numbers waits for a wrongly guessed branch at every level: 90 ns each among 200.
Here a table says how many of the sorted numbers lie below a number's cell, and only those within the cell are
compared. Cells are equal steps, or equal steps of the floating-point bits (about the logarithm) where those
separate the sorted numbers better; both grow with the number, however it is rounded, so answers are exact.
"""

import numpy as np

from synthmill.data.columns import Float64, Int64, Numbers

CELLS = 1 << 13
MOST_IN_CELL = 8
"""With more in one cell a binary search is as fast."""


class Finder:
    """`Finder(sorted)(values)`: of each value (N,), how many of the sorted numbers are at most as large."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        grids = (_Grid(numbers, bits=False), _Grid(numbers, bits=True))
        self._grid = min(grids, key=lambda grid: grid.most)

    def __call__(self, values: Numbers) -> Int64:
        if self._grid.most > MOST_IN_CELL or values.dtype != self._numbers.dtype:
            return np.searchsorted(self._numbers, values, side="right")
        return self._grid.find(values)


class _Grid:
    """Cells from the least to the largest of the sorted numbers."""

    def __init__(self, numbers: Numbers, *, bits: bool) -> None:
        self._bits = bits
        self.most = MOST_IN_CELL + 1
        """Sorted numbers in one cell; too many where there can be no cells."""
        if not len(numbers):
            return
        places = self._places(numbers)
        self._low, high = float(places[0]), float(places[-1])
        # Infinity is a number like others, and no distance from itself.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            self._scale = (CELLS - 1) / (np.float64(high) - self._low)
        if not (np.isfinite(self._scale) and np.isfinite(self._low) and self._scale > 0):
            return
        counts = np.bincount(self._cells(numbers), minlength=CELLS)
        self.most = int(counts.max())
        self._below = np.cumsum(counts) - counts
        # Behind the last number, so that comparing on needs no bounds.
        end = np.iinfo(np.int64).max if numbers.dtype == np.int64 else np.inf
        self._count = len(numbers)
        self._numbers = np.concatenate([numbers, np.full(MOST_IN_CELL + 1, end, numbers.dtype)])

    def find(self, values: Numbers) -> Int64:
        found: Int64 = self._below.take(self._cells(values))
        for _ in range(self.most):
            found += self._numbers.take(found) <= values
        # The largest number of its type is as large as the end.
        np.minimum(found, self._count, out=found)
        return found

    def _cells(self, values: Numbers) -> Int64:
        with np.errstate(invalid="ignore", over="ignore"):
            cells = self._places(values) - self._low
            cells *= self._scale
        return np.clip(cells, 0, CELLS - 1, out=cells).astype(np.int64)

    def _places(self, values: Numbers) -> Float64:
        numbers = values.astype(np.float64, copy=False)
        if not self._bits:
            return numbers
        # In the order of the numbers: the bits of negative ones count the other way. Zero has one place.
        bits = (numbers + 0.0).view(np.int64)
        return (bits ^ ((bits >> 63) & np.int64(0x7FFFFFFFFFFFFFFF))).astype(np.float64)
