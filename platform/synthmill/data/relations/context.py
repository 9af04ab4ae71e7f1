"""What a child is told of its parent: codes of the parent's columns, coarse enough for few rows to learn
from, and none of them one person's.

Numbers, dates and times are put into bins of equal share whose edges are means of neighbouring values of at
least 5 rows; categories that fewer than 5 rows have are one. Rows are those of the parent's table: a parent
with many children counts once.
"""

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.config import FrozenModel
from synthmill.data.columns import (
    Float64,
    Int64,
    flat,
    is_integral,
    is_text,
    to_float64,
    to_int64,
    valid_rows,
)
from synthmill.data.people import NEIGHBOURS

MOST_BINS = 16
LEAST_ROWS = 10
"""Rows that a bin should have."""
MOST_LEVELS = 60
OTHER, MISSING, NOBODY = "other", "missing", "nobody"
_SAMPLE_ROWS = 20_000
_COARSE_BITS = 40


class ContextColumn(FrozenModel):
    """One column of a parent as its children's model has it: a text that is a code."""

    name: str
    """What it is called there."""
    table: str
    source: str
    """The column of that table."""
    kind: Literal["bins", "levels"]
    edges: tuple[float, ...] = ()
    """Ascending; bin k holds the values from edge k - 1 up to below edge k."""
    base: int = 0
    """Taken off whole numbers first, as a float has no room for those beyond 2^53."""
    levels: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """How many codes there are; the last ones are `other` and `missing`."""
        return (len(self.edges) + 1 if self.kind == "bins" else len(self.levels)) + 2

    def codes(self, column: pa.Array | pa.ChunkedArray) -> Int64:
        """The code of each cell, (N,)."""
        array = flat(column)
        valid = valid_rows(array)
        if self.kind == "levels":
            found = pc.index_in(_words(array), value_set=pa.array(self.levels, pa.string()))
            codes = np.asarray(found.fill_null(self.width - 2), dtype=np.int64)
        else:
            codes = np.searchsorted(np.array(self.edges), _numbers(array, self.base), side="right").astype(
                np.int64
            )
        return np.where(valid, codes, self.width - 1)

    def texts(self, codes: Int64) -> pa.Array:
        """Codes (N,) as cells of the child's model; -1: there is no such parent."""
        return self._words().take(pa.array(np.where(codes < 0, self.width, codes)))

    def codes_of_texts(self, texts: pa.Array | pa.ChunkedArray) -> Int64:
        """The inverse of `texts`; what is none of them is `other`."""
        found = pc.index_in(flat(texts).cast(pa.string()), value_set=self._words())
        codes = np.asarray(found.fill_null(self.width - 2), dtype=np.int64)
        return np.where(codes == self.width, -1, codes)

    def _words(self) -> pa.Array:
        names = (
            [f"b{k:02d}" for k in range(len(self.edges) + 1)] if self.kind == "bins" else list(self.levels)
        )
        return pa.array([*names, OTHER, MISSING, NOBODY], pa.string())


def fit_context(
    name: str, table: str, source: str, column: pa.Array | pa.ChunkedArray
) -> ContextColumn | None:
    """The codes of a parent's column, from its training rows; None where it says nothing."""
    array = flat(column)
    known = array.drop_null()
    if is_text(array.type) or pa.types.is_boolean(array.type):
        counts = _words(known).value_counts()
        sizes = counts.field("counts").to_numpy()
        order = np.argsort(-sizes, kind="stable")[:MOST_LEVELS]
        shared = [i for i in order.tolist() if sizes[i] >= NEIGHBOURS]
        levels = tuple(counts.field("values").take(pa.array(shared, pa.int64())).to_pylist())
        # A level that is called like our own words would be two things.
        levels = tuple(level for level in levels if level not in (OTHER, MISSING, NOBODY))
        varied = len(levels) + (len(known) < len(array)) + bool(len(sizes) > len(levels)) > 1
        return (
            ContextColumn(name=name, table=table, source=source, kind="levels", levels=levels)
            if varied
            else None
        )
    if not (is_integral(array.type) or pa.types.is_floating(array.type)):
        return None
    # Of the median only what very many numbers share.
    base = 0 if pa.types.is_floating(array.type) or not len(known) else _rounded(to_int64(known))
    edges = _edges(np.sort(_numbers(known, base)))
    varied = len(edges) + (len(known) < len(array)) > 0
    return (
        ContextColumn(name=name, table=table, source=source, kind="bins", edges=tuple(edges), base=base)
        if varied
        else None
    )


def association(codes: Int64, width: int, other: Int64, other_width: int) -> float:
    """Cramer's V of two columns of codes (N,), its bias for few rows taken off (Bergsma 2013), in [0, 1]."""
    rows = len(codes)
    if rows > _SAMPLE_ROWS:
        codes, other = codes[:: rows // _SAMPLE_ROWS], other[:: rows // _SAMPLE_ROWS]
        rows = len(codes)
    if rows < 2:
        return 0.0
    joint = np.bincount(codes * other_width + other, minlength=width * other_width).reshape(
        width, other_width
    )
    joint = joint[joint.any(1)][:, joint.any(0)].astype(np.float64)
    r, k = joint.shape
    expected = joint.sum(1, keepdims=True) @ joint.sum(0, keepdims=True) / rows
    phi2 = float(((joint - expected) ** 2 / expected).sum()) / rows
    phi2 = max(0.0, phi2 - (k - 1) * (r - 1) / (rows - 1))
    least = min(r - (r - 1) ** 2 / (rows - 1), k - (k - 1) ** 2 / (rows - 1)) - 1
    return float(min(1.0, np.sqrt(phi2 / least))) if least > 0 else 0.0


def _edges(values: Float64) -> list[float]:
    """Limits of bins of about equal share in sorted values (N,): between the means of 5 neighbours on either
    side, so that no limit is a value of one row."""
    bins = min(MOST_BINS, len(values) // LEAST_ROWS)
    edges: list[float] = []
    for k in range(1, bins):
        at = len(values) * k // bins
        # Between two different values, where many are equal: a value must not be torn.
        at = int(np.searchsorted(values, values[at], side="left"))
        if at < NEIGHBOURS or len(values) - at < NEIGHBOURS:
            continue
        below, above = values[at - NEIGHBOURS : at].mean(), values[at : at + NEIGHBOURS].mean()
        edge = float(below + (above - below) / 2)
        if np.isfinite(edge) and (not edges or edge > edges[-1]):
            edges.append(edge)
    return edges


def _rounded(values: Int64) -> int:
    return int(np.median(values.astype(np.float64))) >> _COARSE_BITS << _COARSE_BITS


def _numbers(array: pa.Array, base: int) -> Float64:
    """float64 (N,); 0 where missing."""
    if pa.types.is_floating(array.type):
        return np.nan_to_num(to_float64(array), nan=0.0)
    return (to_int64(array) - base).astype(np.float64)


def _words(array: pa.Array) -> pa.Array:
    return array.cast(pa.string())
