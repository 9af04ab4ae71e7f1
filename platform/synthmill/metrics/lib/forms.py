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

from synthmill.metrics.base import Mergeable
from synthmill.metrics.lib.columns import MISSING, Bools, Column, Floats, Ints, floats, texts
from synthmill.metrics.lib.view import PartView

MOST_DECIMALS = 6
"""Numbers with more decimals than this have no written form to keep: they are measured, not written."""
RUNS = ((r"\p{Lu}+", "A"), (r"\p{Ll}+", "a"), (r"[^\p{Lu}\p{Ll}\P{L}]+", "x"), (r"\s+", " "))
NO_FORM = MOST_DECIMALS + 1
SECONDS = (86_400.0, 3_600.0, 60.0, 1.0)
"""Units of time from coarse to fine; a value that is whole in none of them has the form after the last."""
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
    """Real values that are the only ones of their form: how often a fresh real value has a new one (Good
    1953)."""
    values: int


@dataclass(frozen=True)
class FormCounts:
    """Values that were looked at, and those of a form that no real value has, by column."""

    values: dict[str, int]
    unknown: dict[str, int]


class CountForms(Mergeable[FormCounts, FormCounts]):
    """Counts every value of a table; size: two numbers a column."""

    def __init__(self, forms: Mapping[str, ColumnForm]) -> None:
        self.forms = forms

    def partial(self, view: PartView) -> FormCounts:
        values: dict[str, int] = {}
        unknown: dict[str, int] = {}
        for name, form in self.forms.items():
            if form.patterns is None:
                found = _fineness(view.table[name])
                values[name] = len(found)
                unknown[name] = int(np.count_nonzero(found > form.finest))
            else:
                codes, seen = view.texts(name)
                strange = _strange(seen, form)
                values[name] = int(np.count_nonzero(codes != MISSING))
                unknown[name] = int(np.count_nonzero(strange[codes[codes != MISSING]]))
        return FormCounts(values, unknown)

    def merge(self, left: FormCounts, right: FormCounts) -> FormCounts:
        return FormCounts(
            {name: left.values[name] + right.values[name] for name in left.values},
            {name: left.unknown[name] + right.unknown[name] for name in left.unknown},
        )

    def finish(self, state: FormCounts) -> FormCounts:
        return state


def fit_forms(columns: Sequence[Column], tables: Sequence[pa.Table]) -> dict[str, ColumnForm]:
    """The form of every column that has one, from real tables together."""
    fitted = {column.name: _fit(column, [table[column.name] for table in tables]) for column in columns}
    return {name: form for name, form in fitted.items() if form is not None}


def beyond_chance(name: str, counts: FormCounts, form: ColumnForm, columns: int) -> bool:
    """Whether a column has more values of new forms than fresh real rows would (hypergeometric, corrected for
    the number of columns); of the real values `singles` would be new to the others."""
    strange, total = counts.unknown[name], counts.values[name]
    if not strange:
        return False
    p = stats.hypergeom.sf(strange - 1, form.values + total, total, strange + form.singles + 1)
    return bool(p < CHANCE / columns)


def text_patterns(values: Sequence[str], *, exact: bool) -> list[str]:
    """The pattern of each text; `exact` keeps lengths of runs of digits."""
    found = pa.array(values, pa.string())
    for run, mark in RUNS:
        found = pc.replace_substring_regex(found, run, mark)
    written: list[str] = pc.replace_substring_regex(
        found, r"\p{Nd}" if exact else r"\p{Nd}+", "9"
    ).to_pylist()
    return written


def _fit(column: Column, sides: Sequence[pa.ChunkedArray]) -> ColumnForm | None:
    arrow = column.type
    if pa.types.is_boolean(arrow) or pa.types.is_nested(arrow) or pa.types.is_binary(arrow):
        return None
    if column.role == "numeric" or pa.types.is_temporal(arrow) or _is_number(arrow):
        return _fit_fineness(np.concatenate([_fineness(side) for side in sides]))
    counted: dict[str, int] = {}
    for side in sides:
        codes, values = texts(side)
        for value, count in zip(values, _uses(codes, len(values)), strict=True):
            counted[value] = counted.get(value, 0) + int(count)
    return _fit_text(column, counted)


def _fit_fineness(found: Ints) -> ColumnForm | None:
    if not len(found) or found.max() == NO_FORM:
        return None
    finest = int(found.max())
    alone = int(np.count_nonzero(found == finest) == 1)
    return ColumnForm(None, False, finest, alone, len(found))


def _fit_text(column: Column, counted: Mapping[str, int]) -> ColumnForm | None:
    used = {value: count for value, count in counted.items() if count}
    if not used:
        return None
    loose, exact = (_tally(used, exact=keep) for keep in (False, True))
    # One length for each pattern: the length is part of the form, unless the values count up.
    counts_up = column.role == "identifier" and not any(_padded(value) for value in used)
    fixed = len(exact) == len(loose) and not counts_up
    tally = exact if fixed else loose
    singles = sum(count == 1 for count in tally.values())
    return ColumnForm(frozenset(tally), fixed, 0, singles, sum(used.values()))


def _tally(used: Mapping[str, int], *, exact: bool) -> dict[str, int]:
    found: dict[str, int] = {}
    for pattern, count in zip(text_patterns(list(used), exact=exact), used.values(), strict=True):
        found[pattern] = found.get(pattern, 0) + count
    return found


def _padded(value: str) -> bool:
    """Whether some run of digits begins with a zero, as in P-0042."""
    return any(
        char == "0" and (at == 0 or not value[at - 1].isdigit()) and value[at + 1 : at + 2].isdigit()
        for at, char in enumerate(value)
    )


def _strange(values: Sequence[str], form: ColumnForm) -> Bools:
    """(len(values),): which have a form that no real value has."""
    assert form.patterns is not None
    patterns = text_patterns(values, exact=form.exact)
    return np.array([pattern not in form.patterns for pattern in patterns], dtype=np.bool_)


def _fineness(column: pa.ChunkedArray) -> Ints:
    """Decimals of each number, or the unit that each time is whole in; missing and infinite values are left
    out, (values,)."""
    arrow = column.type
    if pa.types.is_temporal(arrow):
        return _units(column, arrow)
    values = floats(column)
    values = values[np.isfinite(values)]
    # Written numbers come back from float32 with its own rounding.
    tolerance = 1e-6 if pa.types.is_float32(arrow) or pa.types.is_float16(arrow) else 1e-10
    return _decimals(values, tolerance)


def _decimals(values: Floats, tolerance: float) -> Ints:
    found = np.full(len(values), NO_FORM, dtype=np.int64)
    left = np.arange(len(values))
    for digits in range(NO_FORM):
        scaled = values[left] * 10.0**digits
        whole = np.abs(scaled - np.round(scaled)) <= tolerance * np.maximum(1.0, np.abs(scaled))
        found[left[whole]] = digits
        left = left[~whole]
        if not len(left):
            break
    return found


def _units(column: pa.ChunkedArray, arrow: pa.DataType) -> Ints:
    a_second = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}.get(getattr(arrow, "unit", "s"), 1)
    if pa.types.is_date(arrow):
        return np.zeros(len(column) - column.null_count, dtype=np.int64)
    wide = pa.int32() if arrow.bit_width == 32 else pa.int64()
    ticks = np.asarray(pc.cast(column, wide).drop_null().to_numpy(), dtype=np.int64)
    found = np.full(len(ticks), len(SECONDS), dtype=np.int64)
    for level, seconds in reversed(list(enumerate(SECONDS))):
        found[ticks % int(seconds * a_second) == 0] = level
    return found


def _uses(codes: Ints, size: int) -> Ints:
    return np.bincount(codes[codes != MISSING], minlength=size)


def _is_number(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_integer(arrow) or pa.types.is_floating(arrow) or pa.types.is_decimal(arrow))
