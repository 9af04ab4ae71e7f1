"""Rules that rows are held against: those of the model's recipe, and the texts of a gates file (`a <= b`, or
any formula), all by the code that training holds its rows against."""

import re
from collections.abc import Sequence

import pyarrow as pa

from synthmill.constraint_config import FormulaConfig
from synthmill.data.constraints.base import Constraint
from synthmill.data.constraints.formula import Formula
from synthmill.errors import RecipeError

FIELD = "gates.constraints"
PATTERN = re.compile(r"^\s*(`[^`]+`|[^<>=!`]+?)\s*(<=|>=|==|!=|<|>)\s*(`[^`]+`|[^<>=!`]+?)\s*$")


def parse_constraint(text: str, schema: pa.Schema) -> Constraint:
    """A rule on columns of the schema.

    Raises:
        RecipeError: can't be read, names an unknown column, or compares what can't be compared.
    """
    try:
        found = _Rule(FormulaConfig(expression=_with_quotes(text, schema)), FIELD, text.strip())
    except RecipeError:
        raise RecipeError(
            f"can't read {text!r}; write COLUMN <= COLUMN or COLUMN <= NUMBER", field=FIELD
        ) from None
    faults = found.faults(schema)
    if faults:
        raise RecipeError(faults[0].removeprefix(f"{FIELD} ({found.text}): "), field=FIELD)
    return found


def known_constraints(
    texts: Sequence[str], stated: Sequence[Constraint], train: pa.Table
) -> tuple[Constraint, ...]:
    """The rules of a gates file and those that the generator was trained under, told of the training rows
    what they need to know."""
    for one in stated:
        one.learn(train)
    own = {one.text for one in stated}
    return (*stated, *(parse_constraint(text, train.schema) for text in texts if text.strip() not in own))


class _Rule(Formula):
    """A formula that reports call by the text it was stated in."""

    def __init__(self, config: FormulaConfig, field: str, text: str) -> None:
        super().__init__(config, field)
        self._text = text

    @property
    def text(self) -> str:
        return self._text


def _with_quotes(text: str, schema: pa.Schema) -> str:
    """A comparison of two columns, or of a column and a number, with backticks around names, which may hold
    spaces; any other text as it is."""
    match = PATTERN.match(text)
    if match is None:
        return text
    sides = [_side(match[1], schema, first=True), _side(match[3], schema, first=False)]
    return text if None in sides else f"{sides[0]} {match[2]} {sides[1]}"


def _side(side: str, schema: pa.Schema, *, first: bool) -> str | None:
    if side.startswith("`"):
        return side
    try:
        # A number first: a column named `0` needs backticks.
        return str(float(side)) if not first else f"`{side}`"
    except ValueError:
        # What is no column may be an expression, or else is the name of none.
        plain = side in schema.names or not re.search(r"[-+*/%()'\"]", side)
        return f"`{side}`" if plain else None
