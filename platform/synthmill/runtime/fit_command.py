"""The command that trains a model of several tables; added to the command line by `register`."""

import uuid
from typing import Annotated, Any

import typer

from synthmill.runtime.options import DEFAULT_STORE, ResultFile, StoreOption, Verb


def register(app: typer.Typer, verb: Verb) -> None:
    """Add the command; `verb` turns a function that returns its result into one that prints it and returns an
    exit code."""
    app.command()(verb(fit))


def fit(
    schema: Annotated[
        str,
        typer.Argument(help="A schema of several tables (.yaml), a folder of files, or sqlite:///FILE."),
    ],
    store: StoreOption = DEFAULT_STORE,
    name: Annotated[
        str | None, typer.Option(help="Name of the model; default: what the schema says.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value; may be given again.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check the tables, print the schema, and stop.")
    ] = False,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Train one model of tables that belong together, and publish it as the next version of its name."""
    from synthmill.runtime.fit_tables import fit_tables

    return fit_tables(
        schema, store, run_id=uuid.uuid4().hex, name=name, overrides=tuple(set_ or ()), dry_run=dry_run
    )
