"""Numbers to codes and positions: point masses and missing values get codes, the rest a place on a fitted
curve.

The curve is the empirical distribution function as a piecewise line through at most about 200 knots, each the
mean of at least 5 neighbouring values or a value that at least 5 rows share. A number becomes its rank q in
[0, 1]; ranks are cut into S equal segments (code 0..S-1) and the place inside the segment is stretched to
[-1, 1], where it is uniform however heavy the tail. This replaces the Gaussian-mixture modes of arXiv
1907.00503, section 4.2.
"""

import functools
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from synthmill.data.columns import Bool, Float64, Int64, Numbers, Rows, from_float64, from_int64, narrowed
from synthmill.data.facts import numbers
from synthmill.data.layout import DiscreteSpan
from synthmill.data.people import (
    NEIGHBOURS,
    count_people,
    count_sharers,
    in_order,
    outermost,
    picked,
    widened,
)
from synthmill.data.places import Grid, Places
from synthmill.data.profile import ColumnProfile
from synthmill.data.resolution import COARSE, Resolution
from synthmill.data.search import Finder

MIN_SEGMENT_ROWS = 20
_TAIL_GROWTH = 1.5
_LEVEL_KINDS = ("integer", "boolean", "numeric")
_INT64_LIMIT = float(2**63 - 1024)


@dataclass(frozen=True)
class _Steps:
    """What `Curve.ranks` looks up: the different values `x` (K,), and of each the middle and the last rank of
    its atom, and the way to the next."""

    x: Float64
    high: Float64
    middle: Float64
    width: Float64
    rise: Float64
    has_atoms: bool
    """Whether there is more than one rank at some value."""
    find: Finder


@dataclass(frozen=True)
class Curve:
    """A distribution function: knots (rank q, value x), both float64 (K,) and non-decreasing; equal ranks are
    gaps, equal values atoms."""

    q: Float64
    x: Float64

    def ranks(self, values: Float64) -> Float64:
        """The rank of each value; the middle of its atom for a value that has one. Values outside count as
        the nearest end."""
        steps = self._steps
        ranks: Float64 = np.clip(values, self.x[0], self.x[-1])
        at = steps.find(ranks)
        at -= 1
        # In place: what is written over is still in the cache.
        ranks -= steps.x.take(at)
        is_atom = ranks == 0 if steps.has_atoms else None
        ranks /= steps.width.take(at)
        ranks *= steps.rise.take(at)
        ranks += steps.high.take(at)
        return ranks if is_atom is None else np.where(is_atom, steps.middle.take(at), ranks)

    @functools.cached_property
    def _steps(self) -> "_Steps":
        starts = np.flatnonzero(np.concatenate([[True], np.diff(self.x) > 0]))
        stops = np.append(starts[1:], len(self.x)) - 1
        x, low, high = self.x[starts], self.q[starts], self.q[stops]
        after = np.minimum(np.arange(len(x)) + 1, len(x) - 1)
        width = x[after] - x
        return _Steps(
            x=x,
            high=high,
            middle=(low + high) / 2,
            width=np.where(width > 0, width, 1),
            rise=low[after] - high,
            has_atoms=bool((low < high).any()),
            find=Finder(x),
        )

    def values(self, ranks: Float64) -> Float64:
        """The value at each rank."""
        width = np.diff(self.q)
        slope = np.append(np.diff(self.x) / np.where(width > 0, width, np.inf), 0.0)
        at = np.clip(np.searchsorted(self.q, ranks, side="right") - 1, 0, len(self.q) - 1)
        values: Float64 = self.x[at] + (ranks - self.q[at]) * slope[at]
        return values


def fit_curve(values: Float64, people: Int64 | None = None, max_knots: int = COARSE.max_knots) -> Curve:
    """The curve of at least one value; it runs from the mean of the lowest 5 to the mean of the highest 5, of
    5 `people` where rows are told apart."""
    values, people = in_order(values, people)
    rows = len(values)
    first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    distinct, counts = values[first], np.diff(np.append(first, rows))
    codes = np.repeat(np.arange(len(first)), counts)
    shared = count_sharers(codes, len(distinct), people)
    atoms = (counts >= max(NEIGHBOURS, 2 * rows / max_knots)) & (shared >= NEIGHBOURS)
    knots = [
        (0.0, np.sort(outermost(values, people, lowest=True)).mean()),
        (1.0, np.sort(outermost(values, people, lowest=False)).mean()),
    ]
    for value, start, count in zip(distinct[atoms], first[atoms], counts[atoms], strict=True):
        knots += [(start / rows, value), ((start + count) / rows, value)]
    edges = np.concatenate(
        [[0], np.stack([first[atoms], first[atoms] + counts[atoms]], axis=1).reshape(-1), [rows]]
    )
    for start, stop in edges.reshape(-1, 2):
        sizes = _group_sizes(
            stop - start, max(NEIGHBOURS, rows // max_knots), tail_low=start == 0, tail_high=stop == rows
        )
        sizes = widened(sizes, picked(people, np.arange(start, stop)))
        if len(sizes):
            cuts = start + np.concatenate([[0], np.cumsum(sizes)])
            means = np.add.reduceat(values[: cuts[-1]], cuts[:-1]) / sizes
            knots += list(zip((cuts[:-1] + cuts[1:]) / 2 / rows, means, strict=True))
    q, x = np.array(sorted(knots), dtype=np.float64).T
    # The mean of equal numbers may be off by a bit, and so beyond all of them.
    low, high = np.clip((x[0], x[-1]), values[0], values[-1])
    return Curve(q, np.maximum.accumulate(np.clip(x, low, high)))


def _group_sizes(rows: int, size: int, *, tail_low: bool, tail_high: bool) -> Int64:
    """Sizes, each at least 5, of the groups that `rows` neighbouring values are averaged in; smaller ones
    towards a tail."""
    if rows < NEIGHBOURS:
        return np.zeros(0, dtype=np.int64)
    growing = [NEIGHBOURS]
    while growing[-1] < size:
        growing.append(min(size, int(growing[-1] * _TAIL_GROWTH)))
    low, high = (growing[:-1] if tail else [] for tail in (tail_low, tail_high))
    if sum(low) + sum(high) + size > rows:
        return _even(rows, size)
    middle = rows - sum(low) - sum(high)
    return np.concatenate([low, _even(middle, size), high[::-1]]).astype(np.int64)


def _even(rows: int, size: int) -> Int64:
    """Sizes of groups of at least `size` rows (or of all of them), alike to one row."""
    groups = max(1, rows // size)
    cuts = np.arange(groups + 1, dtype=np.int64) * rows // groups
    return cuts[1:] - cuts[:-1]


class NumericCodec:
    """One number, date, time or boolean column."""

    def __init__(
        self, profile: ColumnProfile, kind: pa.DataType, *, segments: int, origin: int, curve: Curve | None
    ) -> None:
        self.profile = profile
        self.kind = kind
        self.segments = segments
        self.origin = origin
        self.curve = curve
        self.integral = not pa.types.is_floating(kind)
        self.points = np.array(profile.points, dtype=np.int64 if self.integral else np.float64)
        self._find_point = Finder(self.points)
        self.missing_code = segments + len(self.points)
        self.width = self.missing_code + (profile.missing_rows > 0)

    @classmethod
    def fit(
        cls,
        profile: ColumnProfile,
        array: pa.Array,
        people: Int64 | None = None,
        resolution: Resolution = COARSE,
        rows: tuple[int, int] | None = None,
    ) -> "NumericCodec":
        """Fit the curve on training values; a rest of fewer than 5 values, or people, joins the nearest
        points. `rows` are how many there are beside the points, and in all, where these are a sample."""
        values, valid = numbers(array)
        values, people = values[valid], picked(people, valid)
        if profile.discrete:
            return cls(profile, array.type, segments=0, origin=0, curve=None)
        apart = ~np.isin(values, np.array(profile.points, dtype=values.dtype))
        rest, people = values[apart], picked(people, apart)
        if count_people(people, len(rest)) < NEIGHBOURS and profile.points:
            return cls(profile, array.type, segments=0, origin=0, curve=None)
        origin = _origin(values, profile.step) if values.dtype == np.int64 else 0
        rest_rows, all_rows = rows or (len(rest), len(array))
        shares = rest_rows / max(1, all_rows) / resolution.min_segment_share
        most = resolution.max_segments
        segments = int(np.clip(min(shares, rest_rows / MIN_SEGMENT_ROWS), 1, most))
        bounded = np.clip(rest, profile.minimum, profile.maximum)
        curve = fit_curve((bounded - origin).astype(np.float64), people, resolution.max_knots)
        return cls(profile, array.type, segments=segments, origin=origin, curve=curve)

    @property
    def spans(self) -> tuple[DiscreteSpan, ...]:
        role: Literal["segment", "category"] = "segment" if self.segments else "category"
        missing = self.missing_code if self.profile.missing_rows else None
        name, width = self.profile.name, self.width
        return (DiscreteSpan(column=name, role=role, width=width, missing=missing, ordered=True),)

    def encode(self, array: pa.Array) -> tuple[list[Int64], Float64 | None]:
        """Codes int64 (N,) and positions in [-1, 1], (N,), 0 where the code is a point or missing."""
        codes, positions = self._coded(*numbers(array))
        return [codes], positions

    @property
    def num_places(self) -> int:
        """How many different cells there can be, where they are few and some lie on a curve; else 0."""
        return 0 if self.curve is None or self._grid is None else self._grid.size

    def places(self) -> Places:
        """What each of its places is encoded as."""
        assert self._grid is not None, "the column has places"
        codes, positions = self._coded(*self._grid.cells())
        assert positions is not None, "a curve has positions"
        return Places(codes.astype(np.uint16), positions.astype(np.float32))

    def place(self, array: pa.Array) -> Int64 | None:
        """The place of each cell (N,); None: some have none."""
        return None if self._grid is None else self._grid.find(*numbers(array))

    def levelled(self, array: pa.Array) -> npt.NDArray[Any] | None:
        """The codes (N,) of a column without a curve, looked up by place; None: they are to be computed."""
        found = self.place(array)
        return None if found is None else self._level_codes.take(found)

    @functools.cached_property
    def _grid(self) -> Grid | None:
        if self.curve is None:
            # Beyond the outermost points, and between points, the nearest counts.
            if not len(self.points):
                return None
            low, high = self.points[0], self.points[-1]
        else:
            low, high = self.profile.minimum, self.profile.maximum
        decimals = None if self.integral else self.profile.decimals
        if not self.integral and (decimals is None or not np.isfinite([low, high]).all()):
            return None
        own = self.points.dtype if self.integral else self.kind.to_pandas_dtype()
        grid = Grid(low, high, self.points, step=self.profile.step, decimals=decimals, kind=own)
        return grid if grid.size else None

    @functools.cached_property
    def _level_codes(self) -> npt.NDArray[np.uint16]:
        assert self._grid is not None, "the column has places"
        return self._coded(*self._grid.cells())[0].astype(np.uint16)

    def _coded(self, values: Numbers, valid: Bool) -> tuple[Int64, Float64 | None]:
        """Codes and positions (N,) of numbers, missing where not `valid`."""
        is_whole = bool(valid.all())
        if self.profile.minimum is not None and not is_whole:
            values = np.where(valid, values, self.profile.minimum).astype(values.dtype)
        codes, exact = self._nearest_points(values)
        positions = None
        if self.curve is not None:
            rank = self.curve.ranks(self._offsets(values))
            rank *= self.segments
            segment = rank.astype(np.int64)
            np.minimum(segment, self.segments - 1, out=segment)
            rank -= segment
            rank *= 2
            rank -= 1
            # Most columns have no points, and most blocks no missing cell.
            codes = np.where(exact, codes, segment) if len(self.points) else segment
            positions = rank
            if len(self.points) or not is_whole:
                positions = np.where(exact | ~valid, 0.0, positions)
        if is_whole:
            return codes, positions
        missing = self.missing_code if self.profile.missing_rows else self._typical_code()
        return np.where(valid, codes, missing), positions

    def _offsets(self, values: Numbers) -> Float64:
        """Numbers as the curve has them."""
        low, high = self.profile.minimum, self.profile.maximum
        assert self.curve is not None
        assert low is not None
        assert high is not None
        x = self.curve.x
        if self.origin == 0 and float(low) <= x[0] and x[-1] <= float(high):
            # The curve's own ends are within the bounds, and it clips to these.
            return values.astype(np.float64, copy=False)
        return (np.clip(values, low, high) - self.origin).astype(np.float64)

    def decode(self, codes: Int64, positions: Float64 | None, rows: Rows) -> pa.Array:
        """The column, (N,), from codes int64 (N, 1) and positions (N,)."""
        code = codes[:, 0]
        valid = code < self.missing_code
        values = self._point_values(code)
        if self.curve is not None and positions is not None:
            inside = np.flatnonzero(code < self.segments)
            place = np.clip(positions[inside].astype(np.float64), -1, 1)
            rank = (code[inside] + (place + 1) / 2) / self.segments
            values[inside] = self._finish(self.curve.values(rank))
        return (
            from_int64(values, valid, self.kind) if self.integral else from_float64(values, valid, self.kind)
        )

    def code_of(self, text: str) -> int | None:
        """The code of the one value that `text` writes, if every row with that value has that code and no
        other row has."""
        if self.segments or self.profile.kind not in _LEVEL_KINDS:
            return None
        value = _parse(text, self.profile)
        if value is not None and not self.integral:
            value = float(narrowed(value, self.kind))
        at = np.flatnonzero(self.points == value)
        return int(at[0]) if value is not None and len(at) else None

    def tensors(self) -> dict[str, Tensor]:
        if self.curve is None:
            return {}
        return {"knots": torch.from_numpy(np.stack([self.curve.q, self.curve.x]))}

    def to_json(self) -> dict[str, int]:
        return {"segments": self.segments, "origin": self.origin}

    @classmethod
    def restore(
        cls, profile: ColumnProfile, kind: pa.DataType, json: dict[str, int], tensors: dict[str, Tensor]
    ) -> "NumericCodec":
        knots = tensors["knots"].numpy() if "knots" in tensors else None
        curve = None if knots is None else Curve(knots[0], knots[1])
        return cls(profile, kind, segments=json["segments"], origin=json["origin"], curve=curve)

    def levels(self) -> list[str] | None:
        """The values as text, where the points are all there is."""
        if self.segments or self.profile.kind not in _LEVEL_KINDS:
            return None
        if self.profile.kind == "boolean":
            return ["true" if point else "false" for point in self.profile.points]
        if not self.integral:
            return [str(narrowed(point, self.kind)) for point in self.profile.points]
        return [
            str(point / 10**self.profile.scale if self.profile.scale else point)
            for point in self.profile.points
        ]

    def count_levels(self, array: pa.Array) -> list[int]:
        """Rows of each of `levels`; any other number counts as the nearest one, as it does for the model."""
        values, valid = numbers(array)
        codes, _ = self._nearest_points(values[valid])
        return [int(count) for count in np.bincount(codes, minlength=len(self.points))]

    def _point_values(self, code: Int64) -> Numbers:
        """The point of each code; any value for other codes."""
        if not len(self.points):
            return np.zeros(len(code), dtype=self.points.dtype)
        return self.points[np.clip(code - self.segments, 0, len(self.points) - 1)]

    def _nearest_points(self, values: Numbers) -> tuple[Int64, Bool]:
        """The code of the nearest point, and whether the value is that point (always, where there is no
        curve), (N,) each."""
        if len(self.points) == 0:
            return np.zeros(len(values), dtype=np.int64), np.zeros(len(values), dtype=bool)
        found = self._find_point(values)
        left, right = np.maximum(found - 1, 0), np.minimum(found, len(self.points) - 1)
        below = self.points[left] == values
        if self.curve is not None or below.all():
            # Beside a curve a number that is no point has no nearest one.
            return left + self.segments, below
        with np.errstate(invalid="ignore"):
            # Infinity is its own point, and no distance from itself.
            below, above = (
                values.astype(np.float64) - self.points[left],
                self.points[right] - values.astype(np.float64),
            )
        near = np.where((below < above) | (self.points[left] == values), left, right)
        return near + self.segments, np.ones(len(values), dtype=bool)

    def _typical_code(self) -> int:
        return self.segments // 2 if self.segments else len(self.points) // 2

    def _finish(self, offsets: Float64) -> Numbers:
        """Values on the column's own grid, inside its bounds, from places on the curve."""
        profile = self.profile
        if not self.integral:
            values = offsets if profile.decimals is None else np.round(offsets, profile.decimals)
            return np.clip(values, profile.minimum, profile.maximum)
        steps = np.rint(np.clip(offsets, -_INT64_LIMIT, _INT64_LIMIT) / profile.step)
        return np.clip(steps.astype(np.int64) * profile.step + self.origin, profile.minimum, profile.maximum)


def _origin(values: Int64, step: int) -> int:
    """A round multiple of `step` near the values, so that offsets are exact in float64; 0 where they are
    small or too far apart."""
    low, high = int(values.min()), int(values.max())
    if max(abs(low), abs(high)) < 2**52 or high - low > 2**61:
        return 0
    unit = step << max(0, max(2**20, high - low).bit_length() - step.bit_length())
    return low // unit * unit


def _parse(text: str, profile: ColumnProfile) -> float | int | None:
    if profile.kind == "boolean":
        return {"true": 1, "false": 0, "1": 1, "0": 0}.get(text.lower())
    try:
        if profile.scale:
            return float(Decimal(text).scaleb(profile.scale))
        return int(text) if profile.kind == "integer" else float(text)
    except (ValueError, InvalidOperation):
        return None
