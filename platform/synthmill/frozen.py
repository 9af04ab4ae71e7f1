"""What every configuration is made of: a frozen base class, and fields that carry their search space."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


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
