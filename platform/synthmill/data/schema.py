"""Schema files: what the user knows about columns (kinds, public bounds and categories), in our format or as
SDV metadata.

Our format is YAML or JSON: `{columns: {age: {kind: integer, minimum: 0, maximum: 120}, ssn: {kind: drop}}}`.
SDV metadata JSON (`METADATA_SPEC_VERSION`, `columns` with `sdtype`, or `tables` with exactly one table) is
read too.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import yaml
from pydantic import Field, field_validator, model_validator

from synthmill.config import FrozenModel, parse_model
from synthmill.data import cells
from synthmill.data.columns import is_text
from synthmill.errors import DataError, RecipeError, did_you_mean

FIELD = "data.schema"

LARGEST_BOUND = 1e200
"""So that a bound times the power of ten of a decimal type is still a number."""
MAX_DECIMALS = 18
RuleKind = Literal[
    "integer", "numeric", "boolean", "categorical", "datetime", "date", "identifier", "text", "drop"
]


class ColumnRule(FrozenModel):
    """What the user states about one column; what is left out is detected."""

    kind: RuleKind | None = None
    """numeric takes integers too; identifier: regenerated, never copied; drop: left out of the table; text:
    free text, refused."""
    minimum: int | float | None = None
    """Public lower bound of a number: used in place of the fitted one; values below it count as equal to
    it."""
    maximum: int | float | None = None
    """Public upper bound of a number."""
    categories: tuple[str, ...] | None = None
    """Public list of levels: used in place of the levels found; other values are folded like rare ones."""
    decimals: int | None = Field(None, ge=0, le=MAX_DECIMALS)
    """Digits after the decimal point."""
    datetime_format: str | None = None
    """strftime format of text dates that are not ISO."""

    @field_validator("minimum", "maximum")
    @classmethod
    def _finite(cls, bound: int | float | None) -> int | float | None:
        if bound is not None and not abs(bound) <= LARGEST_BOUND:
            raise ValueError(
                f"a bound is a number from -{LARGEST_BOUND:g} to {LARGEST_BOUND:g}; leave it out where there"
                " is none"
            )
        return bound

    @model_validator(mode="after")
    def _ordered(self) -> "ColumnRule":
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}")
        return self


Rules = Mapping[str, ColumnRule]
NO_RULES: Rules = MappingProxyType({})


class _SchemaFile(FrozenModel):
    format: Literal["synthmill.schema/1"] = "synthmill.schema/1"
    columns: dict[str, ColumnRule]


def parse_rules(text: str, *, name: str) -> dict[str, ColumnRule]:
    """Rules by column from the text of a schema file.

    Raises:
        DataError: not YAML or JSON, an unknown key or kind; names `data.schema` and the key.
    """
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError:
        raise DataError(f"{name} is neither YAML nor JSON", field=FIELD) from None
    if not isinstance(raw, dict) or not ({"columns", "tables"} & set(raw)):
        raise DataError(f"{name} must be a mapping with `columns`", field=FIELD)
    raw = (
        {**raw, "columns": _text_keys(raw["columns"], name)} if isinstance(raw.get("columns"), dict) else raw
    )
    if _is_sdv(raw):
        return _from_sdv(raw, name)
    try:
        return dict(parse_model(_SchemaFile, raw, prefix=FIELD).columns)
    except RecipeError as fault:
        raise DataError(str(fault)) from None


def apply_rules(table: pa.Table, rules: Rules) -> pa.Table:
    """The table without dropped columns, and with text cast where a rule says number, boolean or date.

    Raises:
        DataError: a rule for an unknown column, or a value that is not of the stated kind; names the column.
    """
    for name in rules:
        if name not in table.column_names:
            raise DataError(f"no column named {name!r}{did_you_mean(name, table.column_names)}", field=FIELD)
    kept = [name for name in table.column_names if name not in rules or rules[name].kind != "drop"]
    if not kept:
        raise DataError("every column is dropped; keep at least one", field=FIELD)
    columns = [_conform(name, table[name], rules.get(name, ColumnRule())) for name in kept]
    return pa.table(columns, names=kept)


def text_columns(rules: Rules) -> frozenset[str]:
    """Columns whose CSV cells must stay text although they may look like numbers or dates."""
    return frozenset(
        name
        for name, rule in rules.items()
        if rule.kind == "categorical" or rule.categories is not None or rule.datetime_format is not None
    )


def _text_keys(columns: dict[Any, Any], name: str) -> dict[str, Any]:
    """The mapping with numbers as text; a bare `on`, `no` or `null`, which YAML does not read as text, is
    refused."""
    for key in columns:
        if key is None or isinstance(key, bool):
            raise DataError(
                f"{name} has a column name that YAML reads as {key}; put it in quotes", field=FIELD
            )
    return {str(key): value for key, value in columns.items()}


def _conform(name: str, column: pa.ChunkedArray, rule: ColumnRule) -> pa.ChunkedArray:
    kind = column.type
    try:
        if rule.kind in ("integer", "numeric"):
            column = _to_number(column)
            if rule.kind == "integer" and not pa.types.is_integer(column.type):
                column = column.cast(pa.int64())
        elif rule.kind == "boolean":
            column = _to_boolean(column)
        elif rule.kind in ("datetime", "date"):
            column = _to_time(column, rule)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
        raise DataError(
            f"column {name!r} is stated to be {rule.kind} but holds other values ({kind})", field=FIELD
        ) from None
    return column


def _to_number(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if is_text(kind):
        return cells.as_number(column.cast(pa.string()))
    if pa.types.is_boolean(kind):
        return column.cast(pa.int8()).cast(pa.int64())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return column
    raise ValueError(kind)


def _to_boolean(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_boolean(column.type):
        return column
    words = pc.utf8_lower(column.cast(pa.string()))
    yes = pc.is_in(words, value_set=pa.array(["true", "1", "yes", "y", "t", "1.0"]))
    no = pc.is_in(words, value_set=pa.array(["false", "0", "no", "n", "f", "0.0"]))
    if not pc.all(pc.or_(pc.or_(yes, no), pc.is_null(words))).as_py():
        raise ValueError("not booleans")
    return pc.if_else(pc.is_null(words), pa.scalar(None, pa.bool_()), yes)


def _to_time(column: pa.ChunkedArray, rule: ColumnRule) -> pa.ChunkedArray:
    if is_text(column.type):
        if rule.datetime_format:
            column = _parse_times(column, rule.datetime_format)
        else:
            column = (
                column.cast(pa.date32()) if rule.kind == "date" else cells.as_time(column.cast(pa.string()))
            )
    if not pa.types.is_temporal(column.type):
        raise ValueError(column.type)
    return column.cast(pa.date32()) if rule.kind == "date" else column


def _parse_times(column: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    import pandas

    array = column.combine_chunks()
    coded = array.dictionary_encode()
    parsed = pandas.to_datetime(coded.dictionary.to_pandas(), format=pattern)
    times = pa.array(parsed, from_pandas=True)
    unit = "ms" if "%f" not in pattern else "us"
    return pa.chunked_array([times.cast(pa.timestamp(unit, times.type.tz)).take(coded.indices)])


def _is_sdv(raw: dict[str, Any]) -> bool:
    columns = raw.get("columns")
    return (
        "METADATA_SPEC_VERSION" in raw
        or "tables" in raw
        or (
            isinstance(columns, dict)
            and any(isinstance(value, dict) and "sdtype" in value for value in columns.values())
        )
    )


def _from_sdv(raw: dict[str, Any], name: str) -> dict[str, ColumnRule]:
    table = raw
    if "tables" in raw:
        tables = raw["tables"]
        if not isinstance(tables, dict):
            raise DataError(f"`tables` in {name} must be a mapping with one table by its name", field=FIELD)
        if len(tables) != 1:
            raise DataError(f"{name} describes {len(tables)} tables; give the metadata of one", field=FIELD)
        table = next(iter(tables.values()))
    columns = table.get("columns") if isinstance(table, dict) else None
    if not isinstance(columns, dict):
        raise DataError(f"{name} has no `columns`", field=FIELD)
    rules = {str(column): _sdv_rule(entry) for column, entry in columns.items()}
    keys = table.get("primary_key") or []
    for key in keys if isinstance(keys, list) else [keys]:
        rules[str(key)] = ColumnRule(kind="identifier")
    return rules


def _sdv_rule(entry: Any) -> ColumnRule:
    entry = entry if isinstance(entry, dict) else {}
    sdtype = entry.get("sdtype", "unknown")
    if sdtype == "numerical":
        whole = "Int" in str(entry.get("computer_representation", ""))
        return ColumnRule(kind="integer" if whole else "numeric")
    if sdtype == "datetime":
        return ColumnRule(kind="datetime", datetime_format=entry.get("datetime_format"))
    if sdtype in ("categorical", "boolean"):
        return ColumnRule(kind=sdtype)
    if sdtype == "text" and "regex_format" not in entry:
        return ColumnRule(kind="text")
    if sdtype == "unknown":
        return ColumnRule(kind="identifier" if entry.get("pii") else None)
    return ColumnRule(kind="identifier" if entry.get("pii", True) else None)
