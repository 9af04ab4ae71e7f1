"""The noise of rows that are decoded: what their codes leave open follows from it."""

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from synthmill.data.batch import Batch
from synthmill.data.columns import Int64, UInt64
from synthmill.data.mixing import mix

AT_ONCE_ROWS = 1024


def noise_of(batch: Batch, codes: Int64, values: npt.NDArray[np.float32]) -> Callable[[Int64], UInt64]:
    """The noise of the rows at an index: their own, or for encoded rows, which have none, a hash of their
    codes.

    Of few rows it is hashed all at once, as the cost is then the number of columns, each time it is asked
    for.
    """
    if "noise" in batch:
        own = batch["noise"].cpu().numpy().view(np.uint64)
        return lambda index: own[index]
    if len(codes) > AT_ONCE_ROWS:
        return lambda index: _row_noise(codes[index], values[index])
    whole = functools.cache(lambda: _row_noise(codes, values))
    return lambda index: whole()[index]


def _row_noise(codes: Int64, values: npt.NDArray[np.float32]) -> UInt64:
    """64 bits a row from its codes (N, D) and the bits of its values (N, C), uint64 (N,)."""
    total = np.zeros(len(codes), dtype=np.uint64)
    for position, column in enumerate([*codes.T, *values.T]):
        bits = column if column.dtype == np.int64 else np.ascontiguousarray(column).view(np.uint32)
        total = mix(total ^ bits.astype(np.uint64), position)
    return total
