"""The written form of values: patterns of characters, decimals of numbers, the finest unit of times.

What counts is whether a synthetic value has a form that some real value has. The form of a text keeps kinds
of characters and punctuation and drops how long a run of letters is: `Ann-Lee` and `Bo-Mi` are both `Aa-Aa`.
Runs of digits keep their length where real values are all of one length, so that a postcode that lost its
leading zero is seen; identifiers that count up may grow a digit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from synthmill.metrics.lib.columns import MISSING, Column, Ints, floats, is_number, level_counts
from synthmill.metrics.lib.counts import CountFlagged, Flagged
from synthmill.metrics.lib.view import PartView

MOST_DECIMALS = 6
"""Numbers with more decimals than this have no written form to keep: they are measured, not written."""
RUNS = ((r"\p{Lu}+", "A"), (r"\p{Ll}+", "a"), (r"[^\p{Lu}\p{Ll}\P{L}]+", "x"), (r"\s+", " "))
NO_FORM = MOST_DECIMALS + 1
SECONDS = (86_400.0, 3_600.0, 60.0, 1.0)
"""Units of time from coarse to fine; a value that is whole in none of them has the form after the last."""
# As for suspect cells (lib/validity.py).
CHANCE = 0.001


@dataclass(frozen=True)
class ColumnForm:
    """The forms of one column's real values."""

    patterns: frozenset[str] | None
    """Those of text; None: a number or a time."""
    exact: bool
    """Whether patterns keep the lengths of runs of digits."""
    finest: int
    """Most decimals of a number, or the finest unit of a time."""
    singles: int
    """Real values that are the only ones of their form."""
    values: int


class CountForms(CountFlagged):
    """Flags every value of a form that no real value has."""

    def __init__(self, forms: Mapping[str, ColumnForm]) -> None:
        self.forms = forms

    def partial(self, view: PartView) -> Flagged:
        counts = Flagged({}, {})
        for name, form in self.forms.items():
            if form.patterns is None:
                fineness = _fineness(view.table[name])
                new_forms = fineness > form.finest
            else:
                # Each distinct value is looked at once, however often it occurs.
                codes, seen = view.texts(name)
                patterns = text_patterns(seen, exact=form.exact)
                new = np.array([pattern not in form.patterns for pattern in patterns], dtype=np.bool_)
                new_forms = new[codes[codes != MISSING]]
            counts.values[name] = len(new_forms)
            counts.flagged[name] = int(np.count_nonzero(new_forms))
        return counts


def fit_forms(columns: Sequence[Column], tables: Sequence[pa.Table]) -> dict[str, ColumnForm]:
    """The form of every column that has one, from real tables together."""
    fitted = {column.name: _fit(column, [table[column.name] for table in tables]) for column in columns}
    return {name: form for name, form in fitted.items() if form is not None}


def beyond_chance(name: str, counts: Flagged, form: ColumnForm, columns: int) -> bool:
    """Whether a column has more values of new forms than fresh real rows would (hypergeometric)."""
    new, total = counts.flagged[name], counts.values[name]
    if not new:
        return False
    # Good (1953): as many real values as are the only ones of their form would be new to the others.
    p = stats.hypergeom.sf(new - 1, form.values + total, total, new + form.singles + 1)
    return bool(p < CHANCE / columns)


def text_patterns(values: Sequence[str], *, exact: bool) -> list[str]:
    """The pattern of each text; `exact` keeps lengths of runs of digits."""
    patterns = pa.array(values, pa.string())
    for run, mark in (*RUNS, (r"\p{Nd}" if exact else r"\p{Nd}+", "9")):
        patterns = pc.replace_substring_regex(patterns, run, mark)
    return patterns.to_pylist()  # type: ignore[no-any-return]


def _fit(column: Column, sides: Sequence[pa.ChunkedArray]) -> ColumnForm | None:
    arrow = column.type
    # Values of these types are written in one way.
    if pa.types.is_boolean(arrow) or pa.types.is_nested(arrow) or pa.types.is_binary(arrow):
        return None
    if column.role == "numeric" or is_number(arrow):
        fineness = np.concatenate([_fineness(side) for side in sides])
        # Measured values have as many decimals as a float can hold; that is no form.
        if not len(fineness) or fineness.max() == NO_FORM:
            return None
        finest = int(fineness.max())
        return ColumnForm(None, False, finest, int(np.count_nonzero(fineness == finest) == 1), len(fineness))
    used = level_counts(sides)
    if not used:
        return None
    loose, exact = (_tally(used, exact=exact) for exact in (False, True))
    # One length for each pattern: the length is part of the form, unless the values count up.
    counts_up = column.role == "identifier" and not any(_padded(value) for value in used)
    fixed = len(exact) == len(loose) and not counts_up
    tally = exact if fixed else loose
    singles = sum(count == 1 for count in tally.values())
    return ColumnForm(frozenset(tally), fixed, 0, singles, sum(used.values()))


def _tally(used: Mapping[str, int], *, exact: bool) -> dict[str, int]:
    tally: dict[str, int] = {}
    for pattern, count in zip(text_patterns(list(used), exact=exact), used.values(), strict=True):
        tally[pattern] = tally.get(pattern, 0) + count
    return tally


def _padded(value: str) -> bool:
    """Whether some run of digits begins with a zero, as in P-0042."""
    return any(
        char == "0" and (at == 0 or not value[at - 1].isdigit()) and value[at + 1 : at + 2].isdigit()
        for at, char in enumerate(value)
    )


def _fineness(column: pa.ChunkedArray) -> Ints:
    """(values,): decimals of each number, or the unit that each time is whole in; finite values only."""
    arrow = column.type
    if pa.types.is_temporal(arrow):
        return _units(column, arrow)
    values = floats(column)
    values = values[np.isfinite(values)]
    # Written numbers come back from float32 with its own rounding.
    tolerance = 1e-6 if pa.types.is_float32(arrow) or pa.types.is_float16(arrow) else 1e-10
    decimals = np.full(len(values), NO_FORM, dtype=np.int64)
    remaining = np.arange(len(values))
    for digits in range(NO_FORM):
        scaled = values[remaining] * 10.0**digits
        whole = np.abs(scaled - np.round(scaled)) <= tolerance * np.maximum(1.0, np.abs(scaled))
        decimals[remaining[whole]] = digits
        remaining = remaining[~whole]
    return decimals


def _units(column: pa.ChunkedArray, arrow: pa.DataType) -> Ints:
    # A date has no unit of its own; dates are whole days.
    a_second = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}.get(getattr(arrow, "unit", "s"), 1)
    if pa.types.is_date(arrow):
        return np.zeros(len(column) - column.null_count, dtype=np.int64)
    wide = pa.int32() if arrow.bit_width == 32 else pa.int64()
    ticks = np.asarray(pc.cast(column, wide).drop_null().to_numpy(), dtype=np.int64)
    units = np.full(len(ticks), len(SECONDS), dtype=np.int64)
    # From fine to coarse, so that the coarsest unit in which a time is whole is the one that stays.
    for level, seconds in reversed(list(enumerate(SECONDS))):
        units[ticks % int(seconds * a_second) == 0] = level
    return units
