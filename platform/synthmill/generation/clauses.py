"""One comparison of a column with a value, as text and as a mapping.

Text is `COLUMN OP VALUE`, or `COLUMN in {VALUE, VALUE, ...}`. Backticks quote a column whose name contains an
operator, as in SQL and pandas; a backtick inside is doubled. The value is everything behind the operator and
is never quoted, but for a set's, which are written as in CSV.
"""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Final

from synthmill.errors import ConditionError, did_you_mean

FIELD = "--where"
OPERATORS: Final = ("!=", "<=", ">=", "=", "<", ">")
"""Longer ones first: they win where two begin at the same place."""
_OPERATOR = re.compile("|".join(OPERATORS))
_QUOTED = re.compile(r"\s*`((?:[^`]|``)*)`\s*")
_SET = re.compile(r"\s*(?:`((?:[^`]|``)*)`|([^`=<>!]+?))\s+in\s+\{(.*)\}\s*$", re.DOTALL)
_KEYS = ("column", "op", "value")
_SAME = {
    "==": "=",
    "<>": "!=",
    "eq": "=",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
}
"""How other languages write the same operators; taken in objects alone, where nothing else can be meant."""


@dataclass(frozen=True)
class Clause:
    """One comparison. `str` of it reads back as the same clause."""

    column: str
    op: str
    """One of `OPERATORS`, or `in`."""
    value: str
    """For `in` the set's members as CSV writes them."""

    @property
    def members(self) -> tuple["Clause", ...]:
        """The equalities one of which must hold; of a comparison itself alone."""
        if self.op != "in":
            return (self,)
        values = next(csv.reader([self.value], skipinitialspace=True))
        return tuple(Clause(self.column, "=", value.strip()) for value in values)

    def __str__(self) -> str:
        if self.op == "in":
            plain = f"{self.column} in {{{self.value}}}"
            match = _SET.match(plain)
            named = match is not None and match[2] is not None and match[2].strip() == self.column
            return plain if named else f"{quoted(self.column)} in {{{self.value}}}"
        plain = f"{self.column}{self.op}{self.value}"
        try:
            # Most columns need no quotes, and messages are easier to read without.
            if parse_where(plain) == self:
                return plain
        except ConditionError:
            pass
        return f"{quoted(self.column)}{self.op}{self.value}"


Given = str | Clause | Mapping[str, object]
"""A condition as people and programs write it."""


def quoted(column: str) -> str:
    """The column's name in backticks."""
    return "`" + column.replace("`", "``") + "`"


def parse_where(text: str) -> Clause:
    """Split behind a name in backticks, else at the leftmost operator: `income=>50K` asks for the value
    `>50K`. White space at the ends of both parts is dropped, but not inside backticks.

    Raises:
        ConditionError: no operator, no column or no value, or a backtick that is not closed.
    """
    found = _SET.match(text)
    if found is not None:
        column = found[2].strip() if found[1] is None else found[1].replace("``", "`")
        return _set(column, next(csv.reader([found[3]], skipinitialspace=True), []), text)
    name = _QUOTED.match(text)
    if name is None:
        if text.lstrip().startswith("`") and text.count("`") % 2:
            raise ConditionError(f"{text!r}: the backtick before the column is not closed", field=FIELD)
        # The leftmost operator; of two that begin there the longer, by the order of the alternatives.
        first = _OPERATOR.search(text)
        if first is None:
            raise ConditionError(
                f"{text!r} compares nothing; write COLUMN=VALUE, or use one of {' '.join(OPERATORS)}",
                field=FIELD,
            )
        return _checked(Clause(text[: first.start()].strip(), first[0], text[first.end() :].strip()), text)
    operator = _OPERATOR.match(text, name.end())
    if operator is None:
        raise ConditionError(
            f"{text!r} has no operator behind the column; write `COLUMN`=VALUE, or use one of"
            f" {' '.join(OPERATORS)}",
            field=FIELD,
        )
    return _checked(Clause(name[1].replace("``", "`"), operator[0], text[operator.end() :].strip()), text)


def clauses_of(condition: "Given") -> tuple[Clause, ...]:
    """The clauses that a text, a clause or an object states. An object is `{"column": ..., "op": ...,
    "value": ...}` (without `op`: equality) or has a column and its value in each entry, as in `{"income":
    ">50K"}`.

    Raises:
        ConditionError: it is none of these; names the entry at fault.
    """
    if isinstance(condition, Clause):
        return (condition,)
    if isinstance(condition, str):
        return (parse_where(condition),)
    if not isinstance(condition, Mapping) or not condition:
        raise ConditionError(
            f'{condition!r} is no condition; write "COLUMN=VALUE", {{"COLUMN": VALUE}} or'
            f' {{"column": ..., "op": "=", "value": ...}}',
            field=FIELD,
        )
    # A table may have columns named `column` and `value`: only both together are the long form.
    if "column" in condition and "value" in condition and set(condition) <= set(_KEYS):
        return (_from_object(condition),)
    return tuple(
        _checked(Clause(str(column), "=", _text_of(value, str(column))), str(condition))
        for column, value in condition.items()
    )


def where_texts(where: "Given | Iterable[Given]") -> tuple[str, ...]:
    """Conditions as plans and manifests record them, each the text of one clause, from one or several
    conditions.

    Raises:
        ConditionError: one that can't be read.
    """
    given = (where,) if isinstance(where, str | Clause | Mapping) else where
    # A text stays as it was written: it is part of what a dataset's bytes are known by.
    return tuple(
        text for one in given for text in ((one,) if isinstance(one, str) else map(str, clauses_of(one)))
    )


def _set(column: str, values: Iterable[str], text: str) -> Clause:
    """A set in one form only, whatever its order: the same condition is the same text."""
    members = sorted({value.strip() for value in values})
    if not column or not members or not all(members):
        raise ConditionError(f"{text!r}: a set needs values; write COLUMN in {{VALUE, VALUE}}", field=FIELD)
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(members)
    return Clause(column, "in", out.getvalue())


def _checked(clause: Clause, text: str) -> Clause:
    if not clause.column or not clause.value:
        raise ConditionError(
            f"{text!r} has no {'value' if clause.column else 'column'}; write COLUMN{clause.op}VALUE",
            field=FIELD,
        )
    return clause


def _from_object(condition: Mapping[str, object]) -> Clause:
    column, op = condition["column"], condition.get("op", "=")
    if not isinstance(column, str):
        raise ConditionError(f"{column!r} is no name of a column; write it as text", field=FIELD)
    op = _SAME.get(op, op) if isinstance(op, str) else op
    values = condition["value"]
    if op == "in" and isinstance(values, list | tuple | set | frozenset):
        return _set(column, [_text_of(value, column) for value in values], str(condition))
    if op not in OPERATORS:
        raise ConditionError(
            f"{op!r} is no operator{did_you_mean(str(op), OPERATORS)}; use one of {' '.join(OPERATORS)}",
            field=FIELD,
        )
    return _checked(Clause(column, str(op), _text_of(condition["value"], column)), str(condition))


def _text_of(value: object, column: str) -> str:
    """The value as `--where` would have it."""
    # First: a bool is an int, too.
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    # NaN and null satisfy no comparison; an error beats a condition that no row ever satisfies.
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise ConditionError(
            f"{quoted(column)}: a missing value satisfies no comparison; give a value", field=FIELD
        )
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float | Decimal):
        return str(value)
    # numpy's scalars, which data frames hand out.
    item = getattr(value, "item", None)
    if callable(item):
        return _text_of(item(), column)
    raise ConditionError(
        f"{quoted(column)}: {value!r} is no single value; give a text, a number, true, false or a date",
        field=FIELD,
    )
