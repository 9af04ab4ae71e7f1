"""Rows as points, so that distance means the same in every metric that uses it.

Numbers: centred at the median, scaled by IQR / 1.349 (the standard deviation where the quartiles coincide),
compressed beyond 3 by sign(z) (3 + log(1 + |z| - 3)): one-to-one, so equal rows stay equal and outliers stay
apart without ruling every distance. Categories: one coordinate a level, or, above 16 levels and without any,
16 signs of 1/4 that are a hash of the level; two different levels are at squared distance 2 (on average when
hashed), as are two typical draws of a number.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthmill.metrics.lib.columns import MISSING, Column, Floats, floats, mix, text_hashes, texts

Points = npt.NDArray[np.float32]
MAX_ONE_HOT = 16
SIGNS = 16
KNEE = 3.0


@dataclass(frozen=True)
class Axis:
    """How one column becomes coordinates."""

    column: Column
    center: float
    scale: float
    has_missing: bool
    levels: tuple[str, ...]
    """One-hot levels; empty for numbers and for hashed columns."""
    width: int


@dataclass(frozen=True)
class Space:
    """The coordinates of every column, in order."""

    axes: tuple[Axis, ...]

    @property
    def groups(self) -> dict[str, slice]:
        """Column -> its coordinates."""
        ends = np.cumsum([axis.width for axis in self.axes])
        return {
            axis.column.name: slice(int(end) - axis.width, int(end))
            for axis, end in zip(self.axes, ends, strict=True)
        }

    def points(self, table: pa.Table) -> Points:
        """float32 (N, D)."""
        if not self.axes:
            return np.zeros((table.num_rows, 0), dtype=np.float32)
        return np.concatenate([_coordinates(axis, table[axis.column.name]) for axis in self.axes], axis=1)


def fit_space(columns: tuple[Column, ...], tables: list[pa.Table]) -> Space:
    """Coordinates from the rows of all tables together, so that none is favoured; no identifiers."""
    pooled = pa.concat_tables(tables)
    return Space(tuple(_fit_axis(c, pooled[c.name]) for c in columns if c.role != "identifier"))


def _fit_axis(column: Column, data: pa.ChunkedArray) -> Axis:
    if column.role == "numeric":
        values = floats(data)
        finite = values[np.isfinite(values)]
        has_missing = len(finite) < len(values)
        low, center, high = np.quantile(finite, [0.25, 0.5, 0.75]) if len(finite) else (0.0, 0.0, 0.0)
        # Quartiles rather than the deviation: one outlier would shrink all other distances. 1.349 makes it
        # the standard deviation of a normal column.
        scale = float(high - low) / 1.349 or (float(finite.std()) if len(finite) else 0.0) or 1.0
        return Axis(column, float(center), scale, has_missing, (), 2 if has_missing else 1)
    codes, values_seen = texts(data)
    used = sorted(values_seen[i] for i in np.unique(codes[codes != MISSING]))
    # Above that, one coordinate a level would make distances slow and nothing but levels.
    if used and len(used) <= MAX_ONE_HOT:
        return Axis(column, 0.0, 1.0, True, tuple(used), len(used) + 2)
    return Axis(column, 0.0, 1.0, True, (), SIGNS)


def _coordinates(axis: Axis, data: pa.ChunkedArray) -> Points:
    if axis.column.role == "numeric":
        return _number(axis, floats(data))
    codes, values = texts(data)
    if axis.levels:
        place = {level: i for i, level in enumerate(axis.levels)}
        table = np.array([*(place.get(value, len(place)) for value in values), len(place) + 1])
        return np.asarray(np.eye(axis.width, dtype=np.float32)[table[codes]])
    hashes = mix(np.array([*text_hashes(values), np.uint64(0x9E3779B97F4A7C15)], dtype=np.uint64))
    bits = (hashes[:, None] >> np.arange(SIGNS, dtype=np.uint64)) & np.uint64(1)
    return ((bits.astype(np.float32) * 2 - 1) / np.float32(np.sqrt(SIGNS)))[codes]


def _number(axis: Axis, values: Floats) -> Points:
    # Infinite values are far from all others, but at a finite distance.
    z = np.nan_to_num((values - axis.center) / axis.scale, nan=0.0, posinf=1e30, neginf=-1e30)
    excess = np.maximum(np.abs(z) - KNEE, 0.0)
    z = np.where(excess > 0, np.sign(z) * (KNEE + np.log1p(excess)), z)
    if not axis.has_missing:
        return z[:, None].astype(np.float32)
    missing = np.isnan(values)
    # A missing value is at the centre and one coordinate away, so it is near no number.
    return np.stack([np.where(missing, 0.0, z), missing], axis=1).astype(np.float32)
