"""What every configuration is made of: a frozen base class, and fields that carry their search space."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema


class FrozenModel(BaseModel):
    """The base of every configuration: frozen, no unknown keys, described by the text under each field."""

    # pydantic reserves names that begin with "model_"; recipes have a key `model`.
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=()
    )


def tunable(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    choices: tuple[Any, ...] | None = None,
    **limits: Any,
) -> Any:
    """A config field with its search space: a range `low..high` (inclusive, `log` scale or not) or `choices`.

    `limits` are pydantic constraints (`gt`, `ge`, `le`, ...) and hold for every value, searched or given.
    """
    assert (choices is None) != (low is None), "a search space is either a range or choices"
    space: Any = {"choices": list(choices)} if choices is not None else {"low": low, "high": high, "log": log}
    # In the schema, so that tuning and the recipe reference read it without knowing the model.
    return Field(default, json_schema_extra={"search": space}, **limits)


def _count(value: Any) -> Any:
    if isinstance(value, str) and (match := re.fullmatch(r"\s*(\d+)\s*\.\.\s*(\d+)\s*", value)):
        least, most = int(match[1]), int(match[2])
        if 1 <= least <= most:
            # One way of writing it, or one number where the range holds no other.
            return f"{least}..{most}" if least < most else least
    elif isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError("input should be an integer greater than or equal to 1, or a range such as 2..8")


_RANGE = {"type": "string", "pattern": r"^\d+\.\.\d+$"}
Count = Annotated[
    int | str,
    BeforeValidator(_count),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, _RANGE]}),
]
"""A number of at least 1, or the least and the most of them: `2..8`."""


def ends(count: int | str) -> tuple[int, int]:
    """The least and the most of a `Count`."""
    least, _, most = str(count).partition("..")
    return int(least), int(most or least)


def is_none(value: object) -> bool:
    """Whether a field is left out of what is saved: one that came later must not change the fingerprints of
    recipes that don't set it."""
    return value is None
