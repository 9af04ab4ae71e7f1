"""Options that commands share."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

Verb = Callable[[Callable[..., dict[str, Any]]], Callable[..., int]]
"""Makes a job of a function that returns its result: it prints that last and returns an exit code."""
StoreOption = Annotated[str, typer.Option("--store", envvar="SYNTHMILL_STORE", help="Root URI: a folder or s3://bucket/prefix.")]
ResultFile = Annotated[str | None, typer.Option("--result-file", help="URI that gets the closing JSON line as well.")]
DEFAULT_STORE = "store"
