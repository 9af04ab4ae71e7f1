"""Rules between columns, as text: `start <= end`, `age >= 0`. Column names may be quoted with backticks."""

import re

import pyarrow as pa

from synthmill.errors import RecipeError, did_you_mean
from synthmill.metrics.lib.counts import Constraint

PATTERN = re.compile(r"^\s*(`[^`]+`|[^<>=!`]+?)\s*(<=|>=|==|!=|<|>)\s*(`[^`]+`|[^<>=!`]+?)\s*$")


def parse_constraint(text: str, schema: pa.Schema) -> Constraint:
    """A rule on columns of the schema.

    Raises:
        RecipeError: can't be read, names an unknown column, or compares what can't be compared.
    """
    match = PATTERN.match(text)
    if not match:
        raise RecipeError(
            f"can't read {text!r}; write COLUMN <= COLUMN or COLUMN <= NUMBER", field="gates.constraints"
        )
    left, operator, right = match.group(1).strip("`"), match.group(2), match.group(3)
    if left not in schema.names:
        raise RecipeError(
            f"no column named {left!r}{did_you_mean(left, schema.names)}", field="gates.constraints"
        )
    other: str | float
    try:
        # A number first: a column named `0` needs backticks.
        other = float(right)
    except ValueError:
        other = right.strip("`")
        if other not in schema.names:
            raise RecipeError(
                f"no column named {other!r}{did_you_mean(other, schema.names)}", field="gates.constraints"
            ) from None
    # Arrow would compare text with a number only to fail in the middle of the work.
    if isinstance(other, float) and not (
        pa.types.is_integer(schema.field(left).type) or pa.types.is_floating(schema.field(left).type)
    ):
        raise RecipeError(f"{left!r} is {schema.field(left).type}, not a number", field="gates.constraints")
    return Constraint(text.strip(), left, operator, other)
