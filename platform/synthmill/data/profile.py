"""What a table's columns are: kinds, bounds, decimals, point masses and vocabularies, fitted on training rows
alone.

Nothing here is one person's value: bounds are means of the 5 outermost values, points and levels are values
that many rows share, identifiers are reduced to their pattern. A schema file may state public bounds and
categories instead. Where
`data.split.group` names people with several rows each, "5" and "many" count people.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import field_serializer, field_validator

from synthmill.config import DataConfig, FrozenModel
from synthmill.data.bounds import Number, frequent_points, outer_bound
from synthmill.data.columns import (
    Bool,
    Int64,
    flat,
    from_words,
    is_temporal,
    is_text,
    plain_type,
    to_int64,
)
from synthmill.data.facts import NumberFacts, TextFacts, number_facts, stated_bounds, text_facts
from synthmill.data.identifiers import IdTemplate, fit_template
from synthmill.data.people import MOST_ROWS, NEIGHBOURS, people_of
from synthmill.data.resolution import COARSE, Resolution
from synthmill.data.schema import KEY_KINDS, ColumnRule, Rules
from synthmill.errors import DataError, did_you_mean, raise_faults

Kind = Literal["numeric", "integer", "boolean", "categorical", "datetime", "date", "identifier", "constant"]

MOST_FOLDED = 0.8
"""The share of a column's rows whose values may be folded into others without anybody's asking for it."""
SHOWN_VALUES = 5
"""Values that an error message lists."""


class ColumnProfile(FrozenModel):
    """One column, as found in the training rows."""

    name: str
    kind: Kind
    arrow_type: str
    """Type of the decoded column, as Arrow writes it."""
    missing_rows: int = 0
    minimum: Number | None = None
    """Smallest value a decoded number can take; dates and times as integers in their own unit, decimals
    unscaled."""
    maximum: Number | None = None
    scale: int = 0
    """Digits after the point of a decimal type, whose numbers stand here times 10 to that power."""
    decimals: int | None = None
    """Digits after the point that floats are rounded to; null: not rounded."""
    step: int = 1
    """Every integer, date or time is a multiple of it."""
    points: tuple[Number, ...] = ()
    """Numbers frequent enough to have a code of their own, and those that stand apart (infinities, dates that
    stand for none), ascending."""
    discrete: bool = False
    """Whether the points are all there is: every other number counts as the nearest point."""
    levels: tuple[str, ...] = ()
    """Categories, most frequent first (or as the schema file lists them); numbers that a schema file calls
    categories, as text."""
    folded_rows: int = 0
    """Rows whose category is too rare to be kept."""
    constant: str | Number | None = None
    """The one value of a constant column; null: always missing."""
    template: IdTemplate | None = None
    """Pattern of an identifier."""

    @field_validator("points", mode="before")
    @classmethod
    def _read_infinities(cls, points: Any) -> Any:
        return tuple(float(point) if isinstance(point, str) else point for point in points)

    @field_serializer("points", when_used="json")
    def _write_infinities(self, points: tuple[Number, ...]) -> list[Number | str]:
        # JSON has no infinity.
        return [point if np.isfinite(point) else str(point) for point in points]


class TableProfile(FrozenModel):
    """All columns, in the order of the source."""

    format: Literal["synthmill.profile/1"] = "synthmill.profile/1"
    rows: int
    """Training rows it was fitted on."""
    columns: tuple[ColumnProfile, ...]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def column(self, name: str, *, field: str | None = None) -> ColumnProfile:
        """The profile of a column; DataError with the closest name when there is none."""
        found = next((column for column in self.columns if column.name == name), None)
        if found is None:
            raise DataError(f"no column named {name!r}{did_you_mean(name, self.names)}", field=field)
        return found


def profile_table(
    train: pa.Table,
    rules: Rules,
    config: DataConfig,
    resolution: Resolution = COARSE,
    people: Int64 | None = None,
) -> TableProfile:
    """Profile every column; `people` (N,) are whose the rows are, None: as `data.split.group` says.

    Raises:
        DataError: free text, or a category column none of whose values is frequent enough; names every column
        at fault and the fix.
    """
    group = config.split.group
    if group is not None:
        kind = plain_type(train.schema.field(group).type)
        rules = with_group(rules, group, kind, pc.count_distinct(train[group]).as_py(), train.num_rows)
    people = people_of(train, group) if people is None else people

    def one(name: str) -> ColumnProfile:
        rule, keep = rules.get(name, ColumnRule()), keeps_rare(name, config)
        column = flat(train[name])
        return profile_column(name, column, rule, config, people, keep=keep, resolution=resolution)

    return TableProfile(rows=train.num_rows, columns=gathered(train.column_names, one))


def gathered(names: Sequence[str], profile: Callable[[str], ColumnProfile]) -> tuple[ColumnProfile, ...]:
    """The profiles of all columns; DataError for all that are at fault at once."""
    columns, faults = [], []
    for name in names:
        try:
            columns.append(profile(name))
        except DataError as fault:
            faults.append(fault)
    if len(faults) == 1:
        raise faults[0]
    raise_faults([str(fault).removeprefix(f"{fault.field}: ") for fault in faults], field="data.source")
    return tuple(columns)


def keeps_rare(name: str, config: DataConfig) -> bool:
    """Whether the column is a target whose rare classes are learnt too."""
    return name == config.target and config.rare_target == "keep"


def profile_column(
    name: str,
    array: pa.Array,
    rule: ColumnRule,
    config: DataConfig,
    people: Int64 | None = None,
    *,
    keep: bool = False,
    resolution: Resolution = COARSE,
) -> ColumnProfile:
    """Profile one column of a plain type, (N,), whose rows belong to `people` (N,); `keep`: rare values are
    levels too."""
    min_rows = 1 if keep else config.min_category_rows
    if array.null_count == len(array) and rule.categories is None:
        return ColumnProfile(name=name, kind="constant", arrow_type=str(array.type), missing_rows=len(array))
    if rule.kind == "identifier" or rule.kind in KEY_KINDS:
        return profile_identifier(name, array.type, array, array.null_count, rule)
    if reads_as_text(array.type, rule):
        return profile_text(name, text_facts(array, people), rule, min_rows)
    facts = number_facts(name, array, rule, min_rows, people)
    return profile_number(name, facts, rule, min_rows, keep=keep, resolution=resolution)


def reads_as_text(kind: pa.DataType, rule: ColumnRule) -> bool:
    """Whether values of the type are counted as texts, numbers among them that a rule calls categories."""
    return is_text(kind) or rule.kind == "categorical" or rule.categories is not None


def with_group(rules: Rules, group: str, kind: pa.DataType, distinct: int, rows: int) -> Rules:
    """A group column with few rows a value (patients, not hospitals) is an identifier unless the schema file
    says otherwise."""
    if (group in rules and rules[group].kind is not None) or not (is_text(kind) or pa.types.is_integer(kind)):
        return rules
    return {**rules, group: ColumnRule(kind="identifier")} if distinct * MOST_ROWS > rows else rules


def profile_identifier(
    name: str, kind: pa.DataType, values: pa.Array, missing: int, rule: ColumnRule
) -> ColumnProfile:
    """Of a column whose values, or some of them, are `values` (N,), with so many `missing` rows."""
    stated = rule.kind if rule.kind in KEY_KINDS else None
    if is_text(kind):
        texts = pc.unique(values).drop_null().cast(pa.string())
        template = fit_template(name, texts, kind=stated, locale=rule.locale)
    elif stated is not None:
        raise DataError(
            f"column {name!r} is stated to hold {stated}, which is text, but holds {kind}; state"
            " `kind: identifier`, or store it as text",
            field="data.schema",
        )
    elif pa.types.is_integer(kind):
        template = IdTemplate(style="sequence")
    else:
        raise DataError(
            f"column {name!r} is stated to be an identifier but holds {kind}; drop it", field="data.schema"
        )
    return ColumnProfile(
        name=name, kind="identifier", arrow_type=str(kind), missing_rows=missing, template=template
    )


def profile_text(name: str, facts: TextFacts, rule: ColumnRule, min_rows: int) -> ColumnProfile:
    """Of a column whose texts were counted."""
    values, counts = facts.values, facts.counts
    if rule.kind == "text":
        raise _free_text(name)
    if rule.minimum is not None or rule.maximum is not None:
        raise DataError(
            f"column {name!r} holds categories, which have no bounds; leave out minimum and maximum",
            field="data.schema",
        )
    if rule.categories is not None:
        stated = _stated(name, values, counts, rule.categories, facts.kind)
        known = np.asarray(pc.is_in(values, value_set=pa.array(stated, pa.string())))
        return _categorical(name, facts, stated, int(counts[~known].sum()) + facts.uncounted)
    kept = facts.shared >= min_rows
    if rule.kind != "categorical":
        if _is_free_text(values, counts, kept):
            raise _free_text(name)
        if not kept.any() and (len(values) == facts.shared.sum() or len(values) > 100):
            return profile_identifier(name, facts.kind, values, facts.missing, rule)
    if not kept.any():
        fix = "lower data.min_category_rows, or state its `categories` or `kind: drop` in a schema file"
        what = "people among the training rows" if facts.is_grouped else "training rows"
        raise DataError(
            f"no value of column {name!r} has {min_rows} {what}; {fix}", field="data.min_category_rows"
        )
    folded = int(counts[~kept].sum()) + facts.uncounted
    if rule.kind is None and folded > MOST_FOLDED * facts.rows:
        fix = "`kind: categorical` (they become others), `kind: identifier` (made anew) or `kind: drop`"
        raise DataError(
            f"column {name!r}: the values of {folded:,} of {facts.rows:,} training rows are too rare to be"
            f" learnt, {int(kept.sum()):,} are not; state {fix} in a schema file",
            field="data.source",
        )
    order = np.lexsort(
        (np.argsort(np.argsort(values.filter(pa.array(kept)).to_numpy(zero_copy_only=False))), -counts[kept])
    )
    levels = values.filter(pa.array(kept)).take(pa.array(order)).to_pylist()
    if len(levels) == 1 and folded == 0 and facts.missing == 0:
        clock = pa.types.is_time(facts.kind) or pa.types.is_duration(facts.kind)
        # Arrow reads times of day and durations from numbers, and not from text.
        return ColumnProfile(
            name=name,
            kind="constant",
            arrow_type=str(facts.kind),
            constant=int(to_int64(facts.first)[0]) if clock else levels[0],
        )
    return _categorical(name, facts, levels, folded)


def _stated(
    name: str, values: pa.Array, counts: Int64, categories: tuple[str, ...], kind: pa.DataType
) -> list[str]:
    """The categories of a schema file as the column's own values are written, each once; DataError where they
    can't be its values."""
    try:
        words = from_words(pa.array(categories, pa.string()), kind).cast(pa.string())
        fault = None if len(words) else "there are none"
        if fault is None and len(values) and not pc.any(pc.is_in(values, value_set=words)).as_py():
            fault = "none of them occurs"
    except pa.ArrowInvalid:
        fault = f"not all of them are {kind}"
    if fault is not None:
        order = np.argsort(-counts, kind="stable")[:SHOWN_VALUES]
        given, own = (
            ", ".join(texts)
            for texts in (categories[:SHOWN_VALUES], values.take(pa.array(order)).to_pylist())
        )
        raise DataError(
            f"column {name!r} can't have the stated `categories` [{given}]: {fault}; list values such as"
            f" {own or 'its own'}",
            field="data.schema",
        )
    return list(dict.fromkeys(words.to_pylist()))


def _categorical(
    name: str, facts: TextFacts, levels: list[str] | tuple[str, ...], folded: int
) -> ColumnProfile:
    return ColumnProfile(
        name=name,
        kind="categorical",
        arrow_type=str(facts.kind),
        missing_rows=facts.missing,
        levels=tuple(levels),
        folded_rows=folded,
    )


def _is_free_text(values: pa.Array, counts: Int64, kept: Bool) -> bool:
    """Mostly different strings of several words: 4 on average."""
    if len(values) <= 0.5 * counts.sum() or counts[kept].sum() > 0.5 * counts.sum():
        return False
    words = pc.mean(pc.count_substring_regex(values, r"\S+")).as_py()
    return bool(words >= 4)


def _free_text(name: str) -> DataError:
    return DataError(
        f"column {name!r} is free text, which table models can't learn and would leak; drop it, or state"
        f" `kind: identifier` or `kind: categorical` in a schema file: {{columns: {{{name}: {{kind:"
        " drop}}}",
        field="data.source",
    )


def profile_number(
    name: str,
    facts: NumberFacts,
    rule: ColumnRule,
    min_rows: int,
    *,
    keep: bool,
    resolution: Resolution = COARSE,
) -> ColumnProfile:
    """Of a column whose numbers were counted; `keep`: rare ones have codes too."""
    kind = facts.kind
    if min(facts.people, facts.inner_people) < NEIGHBOURS:
        # Too few are there to be averaged, or too few beside values that stand apart.
        return ColumnProfile(name=name, kind="constant", arrow_type=str(kind), missing_rows=facts.rows)
    if facts.is_key:
        return profile_identifier(name, kind, pa.nulls(0, kind), facts.missing, rule)
    distinct, sentinels = facts.distinct, facts.sentinels
    if facts.is_whole and len(distinct) == 1 and facts.missing == 0 and not len(sentinels):
        return ColumnProfile(name=name, kind="constant", arrow_type=str(kind), constant=distinct[0].item())
    is_few = facts.is_whole and len(distinct) <= resolution.max_discrete
    least = 1 if keep and is_few else max(NEIGHBOURS, min_rows)
    points, discrete = frequent_points(
        distinct, facts.counts, facts.shared, facts.rows, least, resolution, is_few=is_few
    )
    points = np.union1d(points, sentinels) if len(sentinels) else points
    scale = kind.scale if pa.types.is_decimal(kind) else 0
    decimals = scale or (rule.decimals if rule.decimals is not None else facts.decimals)
    low, high = stated_bounds(name, rule, kind)
    return ColumnProfile(
        name=name,
        kind=_number_kind(kind),
        arrow_type=str(kind),
        missing_rows=facts.missing,
        minimum=outer_bound(facts.lowest, low, facts.step, decimals),
        maximum=outer_bound(facts.highest, high, facts.step, decimals),
        scale=scale,
        decimals=decimals,
        step=facts.step,
        points=tuple(point.item() for point in points),
        discrete=discrete,
    )


def _number_kind(kind: pa.DataType) -> Kind:
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_date(kind):
        return "date"
    if is_temporal(kind):
        return "datetime"
    return "integer" if pa.types.is_integer(kind) else "numeric"
