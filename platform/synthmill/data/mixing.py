"""A keyed hash of 64 bits: what sides of a split, identifiers and rare categories are drawn with."""

import numpy as np

from synthmill.data.columns import UInt64


def mix(values: UInt64, key: int) -> UInt64:
    """splitmix64 (Steele, Lea, Flood 2014, fig. 15) of each value, keyed; uint64 in, uint64 out, wrapping."""
    with np.errstate(over="ignore"):
        z = values + np.uint64((key * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
