"""Tables from elsewhere, brought to the types of the training table.

The same column is whole numbers in one file and has a decimal point in the next, a date here and text there.
A cell that can't be read as the column's type is counted and taken for missing, so that the figures can be
computed and `schema.form_kept` sees it. Columns of another type altogether are refused, all in one line.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.config import DataConfig
from synthmill.data.profile import profile_table
from synthmill.data.schema import ColumnRule
from synthmill.errors import DataError
from synthmill.evaluation.checks import nan_as_null
from synthmill.metrics.lib.columns import kinds_of

SHOWN = 5
MOST_UNREADABLE = 0.5
"""Share of cells that may not read as the column's type before the column counts as another one."""
YES, NO = ("true", "yes", "y", "t", "1"), ("false", "no", "n", "f", "0")


@dataclass(frozen=True)
class Aligned:
    """A side with the names, order and types of the training table."""

    table: pa.Table
    unreadable: dict[str, int]
    """Column -> cells that do not read as its type."""


class _AnotherTypeError(Exception):
    """A column that can't be read as the wanted type at all."""


def common_schema(train: pa.Table, others: Mapping[str, pa.Table]) -> pa.Schema:
    """The training table's columns in types that hold every side's numbers and times without loss."""
    fields = []
    # By position: looking a name up among 10,000 takes as long as reading the column.
    places = {side: _places(other) for side, other in others.items()}
    for field in train.schema:
        kind = _unwrapped(field.type)
        for side, other in others.items():
            if field.name in places[side]:
                kind = _wider(kind, _plain(other.column(places[side][field.name])))
        fields.append(pa.field(field.name, kind))
    return pa.schema(fields)


def align_side(table: pa.Table, schema: pa.Schema, side: str) -> Aligned:
    """A side in the columns and types of `schema`; further columns are left out.

    Raises:
        DataError: columns are missing or hold something else; names all of them.
    """
    # All columns at fault in one message: a person mends a file once.
    _refuse_missing(table, schema, side)
    columns, unreadable, faults = [], {}, []
    places = _places(table)
    for field in schema:
        given = table.column(places[field.name])
        try:
            column, bad = _read_as(_plain(given), field.type)
        except _AnotherTypeError:
            faults.append(f"{field.name} ({_example(given)}, where train has {field.type})")
            continue
        columns.append(column)
        if bad:
            unreadable[field.name] = bad
    if faults:
        raise DataError(f"columns of another type than in train: {'; '.join(faults)}", field=side)
    return Aligned(pa.table(columns, schema=schema), unreadable)


def seen_kinds(train: pa.Table, rules: Mapping[str, ColumnRule]) -> dict[str, str]:
    """Column -> kind, as training would see it; `text` where a model could not learn the column."""
    # Floats without a rule are numbers, which needs no look at thousands of them.
    names = [f.name for f in train.schema if f.name in rules or not pa.types.is_floating(f.type)]
    plain = pa.table({name: _plain(train[name]) for name in names})
    known = {name: rule for name, rule in rules.items() if name in names}
    try:
        return kinds_of(profile_table(plain, known, DataConfig(source="train")))
    except DataError:
        if plain.num_columns == 1:
            return dict.fromkeys(plain.column_names, "text")
    # Half of the columns at a time, so that one that can't be learnt costs few readings of the others.
    middle = plain.num_columns // 2
    halves = (plain.select(plain.column_names[:middle]), plain.select(plain.column_names[middle:]))
    return {name: kind for half in halves for name, kind in seen_kinds(half, known).items()}


def left_out(sides: Mapping[str, pa.Table], schema: pa.Schema) -> list[str]:
    """A note about columns that the training rows do not have."""
    notes = []
    for side, table in sides.items():
        extra = sorted(set(table.column_names) - set(schema.names))
        if extra:
            listed = ", ".join(extra[:SHOWN]) + (", ..." if len(extra) > SHOWN else "")
            notes.append(
                f"columns of the {side} rows that the training rows do not have were left out: {listed}"
            )
    return notes


def unreadable_notes(aligned: Mapping[str, Aligned]) -> list[str]:
    """A note about cells that were taken for missing."""
    return [
        f"{bad:,} {side} cells of {name!r} do not read as the type that it has in the training rows; they"
        " count as missing"
        for side, one in aligned.items()
        for name, bad in one.unreadable.items()
    ]


def _places(table: pa.Table) -> dict[str, int]:
    return {name: place for place, name in enumerate(table.column_names)}


def _refuse_missing(table: pa.Table, schema: pa.Schema, side: str) -> None:
    known = _places(table)
    missing = [name for name in schema.names if name not in known]
    if not missing:
        return
    # Spreadsheets and databases change case and add blanks: the most common reason for a missing column.
    alike = {name.strip().lower(): name for name in table.column_names}
    named = []
    for name in missing[:SHOWN]:
        other = alike.get(name.strip().lower())
        named.append(f"{name} (it has {other!r})" if other else name)
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    listed = ", ".join(named) + more
    raise DataError(f"lacks {len(missing)} of the training table's columns: {listed}", field=side)


def _unwrapped(kind: pa.DataType) -> pa.DataType:
    """The type of the values: without dictionaries, extension types and the large and view variants."""
    if pa.types.is_dictionary(kind):
        return _unwrapped(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return _unwrapped(kind.storage_type)
    if _is_text(kind):
        return pa.string()
    return pa.float64() if pa.types.is_decimal(kind) else kind


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column = column.cast(kind.storage_type)
    wanted = _unwrapped(column.type)
    return nan_as_null(column if column.type == wanted else column.cast(wanted))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _wider(kind: pa.DataType, other: pa.ChunkedArray) -> pa.DataType:
    """The type that holds both, where both are numbers or both are times; else `kind`."""
    theirs = other.type
    # A column that is empty in train takes whatever type the other side has.
    if pa.types.is_null(kind):
        return theirs
    # pandas writes whole numbers with a gap as floats; only real fractions make the column one.
    if pa.types.is_integer(kind) and pa.types.is_floating(theirs):
        return pa.float64() if _has_fractions(other.cast(pa.float64())) else kind
    if pa.types.is_integer(kind) and pa.types.is_integer(theirs):
        return next((wide for wide in (kind, pa.int64()) if _fits(other, wide)), pa.float64())
    # float32 would round the other side's values and make them look new.
    if pa.types.is_floating(kind) and pa.types.is_floating(theirs):
        return kind if kind.bit_width >= theirs.bit_width else theirs
    if pa.types.is_date(kind) and pa.types.is_timestamp(theirs):
        naive = other.cast(pa.timestamp(theirs.unit))
        # A cast to dates cuts the time of day off without a word.
        at_midnight = pc.equal(naive, pc.floor_temporal(naive, unit="day"))
        return kind if pc.all(at_midnight).as_py() in (True, None) else pa.timestamp(theirs.unit)
    if pa.types.is_timestamp(kind) and pa.types.is_timestamp(theirs):
        # The finer unit, or every time of that side would be cut to whole seconds.
        units = ("s", "ms", "us", "ns")
        return pa.timestamp(max(kind.unit, theirs.unit, key=units.index))
    return kind


def _has_fractions(values: pa.ChunkedArray) -> bool:
    present = values.drop_null()
    whole = pc.equal(present, pc.floor(present))
    return not (pc.all(whole).as_py() in (True, None) and _fits(present, pa.int64()))


def _fits(column: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        column.cast(kind)
    except pa.ArrowException:
        return False
    return True


def _read_as(column: pa.ChunkedArray, kind: pa.DataType) -> tuple[pa.ChunkedArray, int]:
    """The column in another type, and how many of its cells do not read as that."""
    theirs = column.type
    if theirs == kind or pa.types.is_null(theirs):
        return column.cast(kind), 0
    if _is_text(kind):
        # As it would be written in a file: a column of codes with a gap is read as 1.0, 2.0 by pandas.
        if pa.types.is_floating(theirs) and not _has_fractions(column.cast(pa.float64())):
            column = column.cast(pa.int64())
        return _cast(column, pa.string()), 0
    if _is_text(theirs):
        return _parsed(column, kind)
    if pa.types.is_boolean(kind):
        if not (pa.types.is_integer(theirs) or pa.types.is_floating(theirs)):
            raise _AnotherTypeError
        values = column.cast(pa.float64())
        read = pc.if_else(pc.is_in(values, pa.array([0.0, 1.0])), pc.equal(values, 1.0), None)
        return _checked(read, values)
    # A time without a zone stands for the same clock; numbers and times are never taken for each other.
    if pa.types.is_temporal(theirs) != pa.types.is_temporal(kind):
        raise _AnotherTypeError
    return _cast(column, kind), 0


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    try:
        return column.cast(kind)
    except pa.ArrowException:
        raise _AnotherTypeError from None


def _parsed(column: pa.ChunkedArray, kind: pa.DataType) -> tuple[pa.ChunkedArray, int]:
    """Text read as numbers, times or yes and no."""
    cells = pc.utf8_trim_whitespace(column)
    # An empty cell is a missing one in every CSV dialect.
    cells = pc.if_else(pc.equal(cells, ""), None, cells)
    if pa.types.is_boolean(kind):
        lower = pc.utf8_lower(cells)
        yes, no = (pc.is_in(lower, pa.array(words)) for words in (YES, NO))
        read = pc.if_else(yes, True, pc.if_else(no, False, None))
    elif pa.types.is_temporal(kind):
        read = _times(cells, kind)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        # pandas, as Arrow's parser stops at the first cell that is no number.
        numbers = pd.to_numeric(pd.Series(cells.to_pylist(), dtype=object), errors="coerce")
        parsed = pa.chunked_array([pa.array(numbers.to_numpy(np.float64), from_pandas=True)])
        if pa.types.is_integer(kind):
            # A cast would fail for all cells because of one with a fraction.
            parsed = pc.if_else(pc.equal(parsed, pc.floor(parsed)), parsed, None)
        read = _cast(parsed, kind)
    else:
        raise _AnotherTypeError
    return _checked(read, cells)


def _times(cells: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_time(kind) or pa.types.is_duration(kind):
        return _cast(cells, kind)
    zone = getattr(kind, "tz", None)
    # Each cell by its own format: files from elsewhere mix them.
    read = pd.to_datetime(
        pd.Series(cells.to_pylist(), dtype=object), errors="coerce", format="mixed", utc=zone is not None
    )
    values = pa.chunked_array([pa.array(read, from_pandas=True)])
    if pa.types.is_null(values.type):
        return values.cast(kind)
    return values.cast(kind, safe=False)


def _checked(read: pa.ChunkedArray, cells: pa.ChunkedArray) -> tuple[pa.ChunkedArray, int]:
    bad = read.null_count - cells.null_count
    # Mostly unreadable is another column, not a few bad cells.
    if bad > MOST_UNREADABLE * (len(cells) - cells.null_count):
        raise _AnotherTypeError
    return read, bad


def _example(column: pa.ChunkedArray) -> str:
    """The type, and a value of text, as they are named to a person."""
    if not _is_text(_unwrapped(column.type)):
        return str(column.type)
    # A value says more than the word string.
    value = next((cell for cell in column.to_pylist() if cell), "")
    return f"text such as {value[:20]!r}"
