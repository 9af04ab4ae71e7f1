"""Options that commands share."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synthmill.errors import UserError

if TYPE_CHECKING:
    from synthmill.config import StorageConfig

Verb = Callable[[Callable[..., dict[str, Any]]], Callable[..., int]]
"""Makes a job of a function that returns its result: it prints that last and returns an exit code."""
StoreOption = Annotated[
    str, typer.Option("--store", envvar="SYNTHMILL_STORE", help="Root URI: a folder or s3://bucket/prefix.")
]
ResultFile = Annotated[
    str | None, typer.Option("--result-file", help="URI that gets the closing JSON line as well.")
]
StorageOption = Annotated[
    list[str] | None, typer.Option("--set", help="storage.key=value; may be given again.")
]
DEFAULT_STORE = "store"


def choice(field: str, value: str | None, known: tuple[str, ...]) -> Any:
    """The value, if it is known or none was given; else UserError names the option and the values."""
    # Not an enumeration of the parser's: its message would not have the form of all others.
    if value is not None and value not in known:
        raise UserError(f"must be one of {', '.join(known)}, got {value!r}", field=field)
    return value


def storage_settings(overrides: list[str] | None) -> "StorageConfig":
    """What `StorageOption` was given; RecipeError names a wrong key or value."""
    from synthmill.config import StorageConfig, parse_model, parse_value

    given = dict(item.removeprefix("storage.").partition("=")[::2] for item in overrides or [])
    return parse_model(
        StorageConfig, {key: parse_value(value) for key, value in given.items()}, prefix="storage"
    )
