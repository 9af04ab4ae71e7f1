"""Codecs, notes and summaries of columns whose rows were counted and not kept: what follows from counts does,
the rest from a sample."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from synthmill.config import DataConfig
from synthmill.data.categorical import CategoryCodec
from synthmill.data.columns import Float64, Int64, from_float64, from_int64
from synthmill.data.facts import NumberFacts, TextFacts, numbers
from synthmill.data.notes import (
    ASCENDING_KEY,
    KEY_DENSITY,
    KEY_ROWS,
    MAX_CLASSES,
    NEARLY_EMPTY,
    infinite_note,
    raise_rare_target,
    rare_note,
    rare_target_note,
    template_notes,
)
from synthmill.data.numeric import Curve, NumericCodec
from synthmill.data.people import NEIGHBOURS
from synthmill.data.profile import ColumnProfile, TableProfile
from synthmill.data.resolution import Resolution
from synthmill.data.scan.counts import Facts, counts_of_levels, rare_classes_of
from synthmill.data.schema import ColumnRule, Rules


def fit_counted(
    profile: ColumnProfile,
    sample: pa.Array,
    people: Int64 | None,
    facts: Facts | None,
    codec: Any,
    resolution: Resolution,
) -> Any:
    """The codec of a column, of the class `codec`; `sample` are some of its training rows."""
    if profile.kind == "categorical" and isinstance(facts, TextFacts):
        return CategoryCodec(profile, sample.type, counts_of_levels(facts, profile.levels))
    if not isinstance(facts, NumberFacts) or codec is not NumericCodec:
        return codec.fit(profile, sample, people, resolution)
    points = np.array(profile.points, dtype=facts.distinct.dtype)
    lowest, highest = facts.outermost_beside(points)
    values, valid = numbers(sample)
    is_rest = valid & ~np.isin(values, points)
    if not profile.discrete and int(is_rest.sum()) < NEIGHBOURS <= len(lowest):
        # Rows with a value are so rare that the sample has too few.
        ends = np.concatenate([lowest, highest])
        sample = from_int64(ends, None, sample.type) if ends.dtype == np.int64 else _floats(ends, sample.type)
        people = None
    rows = (facts.rows_beside(points), facts.rows)
    fitted = NumericCodec.fit(profile, sample, people, resolution, rows)
    if fitted.curve is None or len(lowest) < NEIGHBOURS:
        return fitted
    curve = _with_ends(fitted, lowest, highest)
    return NumericCodec(profile, fitted.kind, segments=fitted.segments, origin=fitted.origin, curve=curve)


def _with_ends(codec: NumericCodec, lowest: Any, highest: Any) -> Curve:
    """The curve from the mean of the five lowest to that of the five highest of all rows."""
    assert codec.curve is not None
    profile = codec.profile

    def placed(ends: Any) -> Float64:
        bounded = np.clip(ends, profile.minimum, profile.maximum)
        return np.sort((bounded - codec.origin).astype(np.float64))

    below, over = placed(lowest), placed(highest)
    # The mean of equal numbers may be off by a bit, and so beyond all of them.
    low, high = (np.clip(ends.mean(), below[0], over[-1]) for ends in (below, over))
    x = codec.curve.x.copy()
    x[0], x[-1] = low, high
    return Curve(codec.curve.q, np.maximum.accumulate(np.clip(x, low, high)))


def _floats(values: Float64, kind: pa.DataType) -> pa.Array:
    return from_float64(values, None, kind)


def check_counted_target(facts: Mapping[str, Facts], schema: pa.Schema, config: DataConfig) -> None:
    """As `check_target`."""
    if config.rare_target is None:
        raise_rare_target(*_rare(facts, schema, config), config)


def counted_target_notes(
    facts: Mapping[str, Facts], schema: pa.Schema, config: DataConfig
) -> tuple[str, ...]:
    """As `target_notes`."""
    return rare_target_note(*_rare(facts, schema, config), config)


def _rare(facts: Mapping[str, Facts], schema: pa.Schema, config: DataConfig) -> tuple[int, int]:
    found = None if config.target is None else facts.get(config.target)
    if found is None or config.target is None:
        return 0, 0
    kind = schema.field(config.target).type
    return rare_classes_of(found, kind, config.min_category_rows, MAX_CLASSES)


def counted_notes(profile: TableProfile, facts: Mapping[str, Facts], rules: Rules) -> tuple[str, ...]:
    """As `notes_of`."""
    notes = []
    for column in profile.columns:
        rule = rules.get(column.name, ColumnRule())
        said = _notes(column, facts.get(column.name), profile.rows, rule)
        notes += [f"column {column.name!r}: {note}" for note in said]
    return tuple(notes)


def _notes(column: ColumnProfile, facts: Facts | None, rows: int, rule: ColumnRule) -> list[str]:
    notes = []
    if column.kind == "categorical" and column.folded_rows and rule.categories is None:
        assert isinstance(facts, TextFacts)
        notes.append(rare_note(len(facts.values) - len(column.levels), column))
    if isinstance(facts, NumberFacts) and column.discrete:
        rare = ~np.isin(facts.distinct, column.points)
        if rare.any():
            rare_rows = int(facts.counts[rare].sum())
            notes.append(
                f"{rare.sum():,} rare values ({rare_rows:,} training rows) count as the nearest other"
            )
    there = rows - column.missing_rows
    if there > 0 and column.missing_rows > NEARLY_EMPTY * rows:
        notes.append(f"nearly empty: {there:,} of {rows:,} training rows have a value")
    if isinstance(facts, NumberFacts):
        if column.kind == "constant" and column.constant is None and facts.missing < rows:
            notes.append("too few rows have a value to learn from: always missing in generated rows")
        if pa.types.is_floating(facts.kind) and facts.sentinel_rows:
            notes.append(infinite_note(facts.sentinel_rows))
    notes += template_notes(column, rule)
    if column.kind == "integer" and rule.kind is None and _is_ascending_key(column, facts):
        notes.append(ASCENDING_KEY)
    return notes


def _is_ascending_key(column: ColumnProfile, facts: Facts | None) -> bool:
    """As of a column that is there (`data.notes`)."""
    if not isinstance(facts, NumberFacts) or column.points or facts.missing or facts.rows < KEY_ROWS:
        return False
    span = float(facts.highest.max()) - float(facts.lowest.min()) + 1
    return facts.is_unique and facts.rows / span >= KEY_DENSITY
