"""Schema files: what the user knows about columns (kinds, public bounds and categories), in our format or as
SDV metadata.

Our format is YAML or JSON: `{columns: {age: {kind: integer, minimum: 0, maximum: 120}, ssn: {kind: drop}}}`.
SDV metadata JSON (`METADATA_SPEC_VERSION`, `columns` with `sdtype`, or `tables` with exactly one table) is
read too.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from synthmill.config import FrozenModel, parse_model
from synthmill.errors import DataError, RecipeError

FIELD = "data.schema"

LARGEST_BOUND = 1e200
"""So that a bound times the power of ten of a decimal type is still a number."""
MAX_DECIMALS = 18
RuleKind = Literal[
    "integer",
    "numeric",
    "boolean",
    "categorical",
    "datetime",
    "date",
    "identifier",
    "email",
    "phone",
    "name",
    "address",
    "iban",
    "card",
    "url",
    "ip",
    "text",
    "drop",
]
KEY_KINDS = ("email", "phone", "name", "address", "iban", "card", "url", "ip")
"""Kinds of identifiers that `data/keys/` makes."""


class ColumnRule(FrozenModel):
    """What the user states about one column; what is left out is detected."""

    kind: RuleKind | None = None
    """numeric takes integers too; identifier: regenerated, never copied; email, phone, name, address, iban,
    card, url, ip: identifiers of that kind; drop: left out of the table; text: free text, refused."""
    locale: str | None = None
    """For names and addresses: one of Faker's locales, such as `de_DE`; null: en_US."""
    minimum: int | float | str | None = None
    """Public lower bound of a number, or of a date or time as `2020-01-31` or `2020-01-31T08:00:00`: used in
    place of the fitted one; values below it count as equal to it. Dates such as 9999-12-31 that stand for
    none
    stay what they are."""
    maximum: int | float | str | None = None
    """Public upper bound of a number, date or time."""
    categories: tuple[str, ...] | None = None
    """Public list of levels: used in place of the levels found; other values are folded like rare ones."""
    decimals: int | None = Field(None, ge=0, le=MAX_DECIMALS)
    """Digits after the decimal point."""
    datetime_format: str | None = None
    """strftime format of dates and times, where it can't be seen from the values; `epoch_s` or `epoch_ms` for
    seconds or milliseconds since 1970."""
    decimal_mark: Literal[".", ","] | None = None
    """What stands before decimals, where it can't be seen from the values."""

    @field_validator("minimum", "maximum", mode="before")
    @classmethod
    def _dated(cls, bound: Any) -> Any:
        # YAML reads an unquoted date as one; JSON, in which rules are kept, has none.
        return bound.isoformat() if isinstance(bound, date) else bound

    @field_validator("minimum", "maximum")
    @classmethod
    def _finite(cls, bound: int | float | str | None) -> int | float | str | None:
        if isinstance(bound, str):
            try:
                datetime.fromisoformat(bound)
            except ValueError:
                raise ValueError("a bound is a number or an ISO date, such as 2020-01-31") from None
            return bound
        if bound is not None and not abs(bound) <= LARGEST_BOUND:
            raise ValueError(
                f"a bound is a number from -{LARGEST_BOUND:g} to {LARGEST_BOUND:g}; leave it out where there"
                " is none"
            )
        return bound

    @model_validator(mode="after")
    def _ordered(self) -> "ColumnRule":
        low, high = self.minimum, self.maximum
        if isinstance(low, str) != isinstance(high, str) and None not in (low, high):
            raise ValueError("minimum and maximum are both numbers or both dates")
        if low is not None and high is not None and low > high:  # type: ignore[operator]
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
    # Constraints are read with the recipe's (`stated.py`).
    raw = {key: value for key, value in raw.items() if key != "constraints"}
    try:
        return dict(parse_model(_SchemaFile, raw, prefix=FIELD).columns)
    except RecipeError as fault:
        raise DataError(str(fault)) from None


def text_columns(rules: Rules) -> frozenset[str]:
    """Columns whose CSV cells must stay text although they may look like numbers or dates."""
    return frozenset(
        name
        for name, rule in rules.items()
        if rule.categories is not None
        or rule.decimal_mark is not None
        or (rule.datetime_format is not None and not _is_numeric(rule.datetime_format))
    )


def _is_numeric(datetime_format: str) -> bool:
    """Whether times in a format are whole numbers: since 1970, or without any mark."""
    return datetime_format.startswith("epoch_") or not re.sub(r"%[A-Za-z]", "", datetime_format)


def _text_keys(columns: dict[Any, Any], name: str) -> dict[str, Any]:
    """The mapping with numbers as text; a bare `on`, `no` or `null`, which YAML does not read as text, is
    refused."""
    for key in columns:
        if key is None or isinstance(key, bool):
            raise DataError(
                f"{name} has a column name that YAML reads as {key}; put it in quotes", field=FIELD
            )
    return {str(key): value for key, value in columns.items()}


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
