"""The search space that a `Config` carries in its fields (`config.tunable`), for `jobs/tune.py`."""

from dataclasses import dataclass
from typing import Any

from synthmill.config import FrozenModel


@dataclass(frozen=True)
class Range:
    """Any number in [low, high], uniform or uniform in its logarithm; `integer` values are whole."""

    low: float
    high: float
    log: bool
    integer: bool


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    options: tuple[Any, ...]


def search_space(config: type[FrozenModel]) -> dict[str, Range | Choice]:
    """Field name -> space, for the fields that declare one; nested configurations give `outer.inner`."""
    found: dict[str, Range | Choice] = {}
    for name, field in config.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        space: Any = extra.get("search")
        if space is not None and "choices" in space:
            found[name] = Choice(
                tuple(tuple(option) if isinstance(option, list) else option for option in space["choices"])
            )
        elif space is not None:
            found[name] = Range(space["low"], space["high"], space["log"], field.annotation is int)
        elif isinstance(field.annotation, type) and issubclass(field.annotation, FrozenModel):
            found |= {f"{name}.{inner}": value for inner, value in search_space(field.annotation).items()}
    return found
