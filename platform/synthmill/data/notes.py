"""What a person should know of how columns are learnt, and rare classes of the target. No note holds a value
that
few rows share: notes are published with the model."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.config import DataConfig
from synthmill.data.columns import Int64, is_text, to_float64, valid_rows
from synthmill.data.facts import numbers
from synthmill.data.people import count_sharers, picked
from synthmill.data.profile import ColumnProfile, TableProfile
from synthmill.data.schema import ColumnRule, Rules
from synthmill.errors import DataError

MAX_CLASSES = 32
"""A number with more different values than that is no class."""
NEARLY_EMPTY = 0.98
ASCENDING_KEY = "whole numbers, each once: learnt as a measurement; state `kind: identifier` if they are keys"
KEY_ROWS = 50
KEY_DENSITY = 0.5


def rare_classes(array: pa.Array, min_rows: int, people: Int64 | None) -> tuple[int, int]:
    """How many values of a target too few rows share to be learnt, and their rows; (0, 0) for a curve."""
    values = array.drop_null().dictionary_encode()
    codes = np.asarray(values.indices, dtype=np.int64)
    size = len(values.dictionary)
    if not is_text(array.type):
        whole = pa.types.is_integer(array.type) or pa.types.is_boolean(array.type)
        if pa.types.is_floating(array.type):
            own = to_float64(values.dictionary)
            whole = bool((own == np.round(own)).all())
        if not whole or size > MAX_CLASSES:
            return 0, 0
    rare = count_sharers(codes, size, picked(people, valid_rows(array))) < min_rows
    return int(rare.sum()), int(np.bincount(codes, minlength=size)[rare].sum())


def check_target(arrays: Mapping[str, pa.Array], config: DataConfig, people: Int64 | None) -> None:
    """DataError for a target with classes that would vanish, unless the recipe says what becomes of them."""
    if config.target is None or config.rare_target is not None or config.target not in arrays:
        return
    raise_rare_target(*rare_classes(arrays[config.target], config.min_category_rows, people), config)


def raise_rare_target(classes: int, rows: int, config: DataConfig) -> None:
    """DataError if there are rare classes, in so many rows."""
    if classes:
        what = "class has" if classes == 1 else "classes have"
        raise DataError(
            f"{classes} {what} too few training rows to be learnt from without copying one ({rows} rows in"
            f" all, at least {config.min_category_rows} a class): set data.rare_target to `fold` (they become"
            " other classes) or to `keep`, or give more rows",
            field=f"data.target {config.target!r}",
        )


def target_notes(arrays: Mapping[str, pa.Array], config: DataConfig, people: Int64 | None) -> tuple[str, ...]:
    """What became of rare classes of the target."""
    if config.target is None or config.target not in arrays:
        return ()
    return rare_target_note(*rare_classes(arrays[config.target], config.min_category_rows, people), config)


def rare_target_note(classes: int, rows: int, config: DataConfig) -> tuple[str, ...]:
    """What became of so many rare classes."""
    if not classes:
        return ()
    kept = config.rare_target == "keep"
    done = "are kept, though few people share them" if kept else "become other classes"
    return (f"target {config.target!r}: {classes} rare classes ({rows} training rows) {done}",)


def notes_of(profile: TableProfile, arrays: Mapping[str, pa.Array], rules: Rules) -> tuple[str, ...]:
    """One line for each decision that a person might want otherwise."""
    notes = []
    for column in profile.columns:
        array = arrays[column.name]
        rule = rules.get(column.name, ColumnRule())
        notes += [f"column {column.name!r}: {note}" for note in _column(column, array, rule)]
    return tuple(notes)


def _column(column: ColumnProfile, array: pa.Array, rule: ColumnRule) -> list[str]:
    notes = []
    rows = len(array)
    if column.kind == "categorical" and column.folded_rows and rule.categories is None:
        notes.append(rare_note(pc.count_distinct(array).as_py() - len(column.levels), column))
    if column.discrete:
        values, valid = numbers(array)
        rare_rows = int((~np.isin(values[valid], column.points)).sum())
        if rare_rows:
            rare = len(np.unique(values[valid])) - len(column.points)
            notes.append(f"{rare:,} rare values ({rare_rows:,} training rows) count as the nearest other")
    if rows - column.missing_rows > 0 and column.missing_rows > NEARLY_EMPTY * rows:
        notes.append(f"nearly empty: {rows - column.missing_rows:,} of {rows:,} training rows have a value")
    if column.kind == "constant" and column.constant is None and array.null_count < rows:
        notes.append("too few rows have a value to learn from: always missing in generated rows")
    if pa.types.is_floating(array.type):
        infinite = int(np.isinf(to_float64(array)).sum())
        if infinite:
            notes.append(infinite_note(infinite))
    notes += template_notes(column, rule)
    if column.kind == "integer" and rule.kind is None and _is_ascending_key(column, array):
        notes.append(ASCENDING_KEY)
    return notes


def rare_note(values: int, column: ColumnProfile) -> str:
    """What becomes of so many rare values."""
    return (
        f"{values:,} values too rare to be learnt ({column.folded_rows:,} training rows) become one of the"
        f" other {len(column.levels):,}"
    )


def infinite_note(values: int) -> str:
    """That there are so many infinite values."""
    return f"{values:,} infinite values are learnt as values of their own"


def template_notes(column: ColumnProfile, rule: ColumnRule) -> list[str]:
    """How identifiers that nobody stated are made anew."""
    template = column.template
    if template is None or rule.kind is not None:
        return []
    if template.before == f"{column.name}-" and template.style == "numbered" and not template.after:
        return [f"different in every row and without a common pattern: made anew as {template.before}1, ..."]
    return ["identifiers: made anew in the same pattern"]


def _is_ascending_key(column: ColumnProfile, array: pa.Array) -> bool:
    """Whether each of many whole numbers occurs once, closely packed, as keys and years do."""
    if column.points or len(array) < KEY_ROWS or array.null_count:
        return False
    values, _ = numbers(array)
    if len(values) / (float(values.max()) - float(values.min()) + 1) < KEY_DENSITY:
        return False
    # Packed so closely, they can be marked off in a list instead of being sorted.
    return int(np.bincount(values - values.min()).max()) == 1
