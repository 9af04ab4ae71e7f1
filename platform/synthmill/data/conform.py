"""Columns as they are learnt: text read in the form it is written in, kinds of the schema file applied, and
every
column that a person must decide about named at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data import cells
from synthmill.data.columns import Int64, flat, is_text
from synthmill.data.forms import epoch
from synthmill.data.forms._missing import is_missing_word
from synthmill.data.forms.base import Form, Hint
from synthmill.data.forms.digits import DigitsForm
from synthmill.data.forms.moment import MomentForm
from synthmill.data.identifiers import has_id_name
from synthmill.data.recognise import Reading, recognise
from synthmill.data.schema import FIELD, ColumnRule, Rules
from synthmill.data.written import with_form
from synthmill.errors import DataError, did_you_mean

MIN_COMPACT_DATES = 10
"""So many different numbers of 8 digits that are all dates are no chance: one number in 28 is a date."""
_COMPACT = {
    "%Y%m%d": (1583_01_01, 9999_12_31),
    "%Y%m%d%H%M%S": (1583_01_01_000000, 9999_12_31_235959),
    "%Y%m": (1800_01, 2199_12),
}
"""Patterns of compact dates and times, with the least and the largest of their numbers."""


@dataclass(frozen=True)
class Conformed:
    """A table whose fields carry the forms of its texts."""

    table: pa.Table
    notes: tuple[str, ...] = ()
    faults: Mapping[str, str] = field(default_factory=dict)
    """One line for each column that a person must decide about, by column; such columns stay as they are."""
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """How each column was read."""
    unread: frozenset[str] = frozenset()
    """Columns that stayed as they were."""


def conform(
    table: pa.Table, rules: Rules, null_values: tuple[str, ...] = (), rows: Int64 | None = None
) -> Conformed:
    """The table without dropped columns, each column typed as its rule or its values say. `rows` are the
    numbers of its rows in the source (N,), for messages; None: these are all of them.

    Raises:
        DataError: a rule for an unknown column, or every column dropped.
    """
    for name in rules:
        if name not in table.column_names:
            raise DataError(f"no column named {name!r}{did_you_mean(name, table.column_names)}", field=FIELD)
    kept = [name for name in table.column_names if name not in rules or rules[name].kind != "drop"]
    if not kept:
        raise DataError("every column is dropped; keep at least one", field=FIELD)
    columns, fields = [], []
    notes: list[str] = []
    faults: dict[str, str] = {}
    readings: dict[str, Reading] = {}
    unread = set()
    for name in kept:
        given = table.schema.field(name)
        untyped = cells.is_untyped(given)
        column = table[name]
        reading = _read(name, column, rules.get(name, ColumnRule()), untyped, null_values, rows)
        readings[name] = reading
        unread |= {name} if reading.column is column else set()
        columns.append(reading.column)
        own = pa.field(name, reading.column.type, metadata=cells.without_mark(given.metadata))
        fields.append(own if reading.form is None else with_form(own, reading.form, given.type))
        notes += reading.notes
        if reading.fault is not None:
            faults[name] = reading.fault
    made = pa.table(columns, schema=pa.schema(fields))
    return Conformed(made, tuple(notes), faults, readings, frozenset(unread))


def _read(
    name: str,
    column: pa.ChunkedArray,
    rule: ColumnRule,
    untyped: bool,
    null_values: tuple[str, ...],
    rows: Int64 | None,
) -> Reading:
    kind = column.type
    try:
        if is_text(kind) and rule.kind != "boolean" and rule.categories is None:
            return _read_text(name, column, rule, untyped, null_values, rows)
        if pa.types.is_integer(kind) and (rule.kind in (None, "date", "datetime")):
            return _read_integers(name, column, rule)
        return Reading(stated(column, rule))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as fault:
        shown = _odd_cells(column, rule, rows)
        what = f"is stated to be {rule.kind} but holds {shown or f'other values ({kind})'}"
        if str(fault).startswith("%"):
            what = f"has a datetime_format with {fault}, which is not known; use %Y %m %d %H %M %S %b %p %z"
        return Reading(column, fault=f"column {name!r} {what}")


def stated(column: pa.ChunkedArray, rule: ColumnRule) -> pa.ChunkedArray:
    """A column that is no text in a form, as its rule has it; `ValueError` (Arrow's among them) where it
    can't be."""
    if rule.kind in ("integer", "numeric"):
        column = _to_number(column)
        if rule.kind == "integer" and not pa.types.is_integer(column.type):
            column = column.cast(pa.int64())
    elif rule.kind == "boolean":
        column = _to_boolean(column)
    elif rule.kind in ("datetime", "date"):
        if not pa.types.is_temporal(column.type):
            raise ValueError(column.type)
        column = column.cast(pa.date32()) if rule.kind == "date" else column
    return column


def _read_text(
    name: str,
    column: pa.ChunkedArray,
    rule: ColumnRule,
    untyped: bool,
    null_values: tuple[str, ...],
    rows: Int64 | None,
) -> Reading:
    form = epoch.stated(rule.datetime_format)
    if form is not None:
        return _with_numbers(column, form)
    hint = Hint(rule.kind, rule.decimal_mark, rule.datetime_format)
    reading = recognise(name, column, hint, typed_source=not untyped, null_values=null_values, rows=rows)
    if reading.fault is not None or is_text(reading.column.type):
        return reading
    typed, plain = reading.column, reading.form
    if isinstance(plain, DigitsForm) and has_id_name(name):
        return Reading(column)
    made = as_stated(typed, rule)
    return Reading(made, plain, reading.notes, parser=reading.parser, read_type=typed.type)


def as_stated(typed: pa.ChunkedArray | pa.Array, rule: ColumnRule) -> pa.ChunkedArray | pa.Array:
    """Values that were read from text, in the type that the rule's kind has."""
    if rule.kind == "integer" and not pa.types.is_integer(typed.type):
        return typed.cast(pa.int64())
    if rule.kind == "date" and pa.types.is_timestamp(typed.type):
        return typed.cast(pa.date32())
    if rule.kind == "datetime" and pa.types.is_date(typed.type):
        return typed.cast(pa.timestamp("ms"))
    return typed


def _read_integers(name: str, column: pa.ChunkedArray, rule: ColumnRule) -> Reading:
    """Whole numbers that are compact dates (20240131), or that the schema file says are times since 1970."""
    form = epoch.stated(rule.datetime_format)
    if form is not None:
        return _with_numbers(column, form)
    bounds = pc.min_max(column).as_py()
    low, high = bounds["min"], bounds["max"]
    for pattern, (least, largest) in _COMPACT.items() if rule.datetime_format is None else ():
        if low is not None and least <= low and high <= largest:
            values = pc.unique(column).drop_null()
            enough = rule.kind is not None or len(values) >= MIN_COMPACT_DATES
            if enough and _compact(pattern).parse(flat(values).cast(pa.string())).null_count == 0:
                return _with_numbers(column, _compact(pattern))
    if rule.datetime_format is not None and low is not None:
        reading = _with_numbers(column, _compact(rule.datetime_format))
        if reading.column.null_count == column.null_count:
            return reading
    if rule.kind is not None:
        found = epoch.seems(pc.unique(column).drop_null()) if low is not None else None
        fix = f"; state `datetime_format: {found}`" if found else ""
        return Reading(
            column, fault=f"column {name!r} is stated to be {rule.kind} but holds whole numbers{fix}"
        )
    return Reading(column)


def _compact(pattern: str) -> MomentForm:
    return MomentForm.model_validate({"pattern": pattern, "unit": "ms" if "%H" in pattern else "D"})


def _with_numbers(column: pa.ChunkedArray, form: Form) -> Reading:
    coded = column.combine_chunks().dictionary_encode()
    typed = form.parse(coded.dictionary.cast(pa.string())).take(coded.indices)
    return Reading(pa.chunked_array([typed]), form, parser=form)


def _to_number(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_boolean(kind):
        return column.cast(pa.int8()).cast(pa.int64())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return column
    raise ValueError(kind)


_YES = pa.array(["true", "1", "yes", "y", "t", "1.0"])
_NO = pa.array(["false", "0", "no", "n", "f", "0.0"])


def _to_boolean(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_boolean(column.type):
        return column
    words = pc.utf8_lower(column.cast(pa.string()).combine_chunks())
    words = pc.if_else(pa.array(is_missing_word(words)), pa.scalar(None, pa.string()), words)
    yes, no = pc.is_in(words, value_set=_YES), pc.is_in(words, value_set=_NO)
    if not pc.all(pc.or_(pc.or_(yes, no), pc.is_null(words))).as_py():
        raise ValueError("not booleans")
    return pa.chunked_array([pc.if_else(pc.is_null(words), pa.scalar(None, pa.bool_()), yes)])


def _odd_cells(column: pa.ChunkedArray, rule: ColumnRule, numbers: Int64 | None) -> str:
    """The first values, with their rows, that are not of the stated kind; empty where all are alike."""
    if rule.kind == "boolean":
        words = pc.utf8_lower(column.cast(pa.string()))
        odd = ~np.asarray(pc.or_(pc.is_in(words, value_set=pa.concat_arrays([_YES, _NO])), pc.is_null(words)))
    elif rule.kind == "integer" and pa.types.is_floating(column.type):
        odd = np.asarray(pc.not_equal(column, pc.round(column)).fill_null(False))
    else:
        return ""
    rows = np.flatnonzero(odd)
    at = rows if numbers is None else numbers[rows]
    shown = ", ".join(
        f"{column[int(row)].as_py()!r} (row {number + 1:,})"
        for row, number in zip(rows[:3], at[:3], strict=True)
    )
    return shown + (f" and {len(rows) - 3:,} more" if len(rows) > 3 else "")
