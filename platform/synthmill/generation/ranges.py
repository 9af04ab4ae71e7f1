"""What a comparison leaves of a column's codes, and of the places inside each bin: asked of the codec itself,
by decoding, so that it holds for whatever form the column is written in.

A place inside a bin is a number that grows with the value. So a comparison that holds at one end of a bin and
not at the other changes once between them, at a place that halving finds to the last bit of a float.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from synthmill.data.batch import Allowed, Batch
from synthmill.data.codecs.base import Codec
from synthmill.generation.clauses import Clause

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
_HALVINGS = 40
_SIDES = {"=": (">=", "<="), "<": ("<",), "<=": ("<=",), ">": (">",), ">=": (">=",)}
"""Comparisons that change at most once inside a bin, and which together mean the same."""


def allowed_by(
    clauses: Sequence[Clause], codec: Codec, mask: Callable[[Clause, Batch], Bools]
) -> tuple[int, Allowed] | None:
    """The span of the clauses' column, and what all of them together allow of it; None where no code of one
    span says whether they hold, or none is allowed. `mask`: the rows of a batch that satisfy a clause."""
    column = clauses[0].column
    place = codec.column_span(column)
    if place is None or (place.bins and any(clause.op not in _SIDES for clause in clauses)):
        return None
    width = place.blank.num_rows

    def holds(op: str, value: str, places_V: Floats) -> Bools:
        rows = place.blank
        if place.value is not None:
            values = rows["values"].clone()
            values[: place.bins, place.value] = torch.from_numpy(places_V[: place.bins])
            rows = rows.with_(values=values)
        return mask(Clause(column, op, value), rows)

    low_V, high_V = np.full(width, -1, np.float32), np.full(width, 1, np.float32)
    possible_V = np.ones(width, dtype=bool)
    for clause in clauses:
        for op in _SIDES[clause.op] if place.bins else (clause.op,):
            from_V, to_V, any_V = _limits(functools.partial(holds, op, clause.value), width)
            low_V, high_V = np.maximum(low_V, from_V), np.minimum(high_V, to_V)
            possible_V &= any_V
    inside_V = np.arange(width) < place.bins
    share_V = np.where(inside_V, np.clip((high_V.astype(np.float64) - low_V) / 2, 0, 1), 1.0)
    weight_V = np.where(possible_V, share_V, 0.0)
    if not weight_V.any():
        return None
    return place.span, Allowed(*(torch.from_numpy(part) for part in (weight_V, low_V, high_V)))


def _limits(holds: Callable[[Floats], Bools], width: int) -> tuple[Floats, Floats, Bools]:
    """The first and the last place of each code at which a comparison holds, and whether it does at any."""
    low_V, high_V = np.full(width, -1, np.float32), np.full(width, 1, np.float32)
    at_low_V, at_high_V = holds(low_V), holds(high_V)
    changes_V = at_low_V != at_high_V
    if changes_V.any():
        good_V, bad_V = np.where(at_low_V, low_V, high_V), np.where(at_low_V, high_V, low_V)
        for _ in range(_HALVINGS):
            middle_V = ((good_V + bad_V) / 2).astype(np.float32)
            holds_V = holds(middle_V)
            good_V, bad_V = np.where(holds_V, middle_V, good_V), np.where(holds_V, bad_V, middle_V)
        low_V = np.where(changes_V & at_high_V, good_V, low_V)
        high_V = np.where(changes_V & at_low_V, good_V, high_V)
    return low_V, high_V, at_low_V | at_high_V
