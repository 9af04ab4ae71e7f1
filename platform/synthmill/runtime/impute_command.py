"""`synthmill impute`: rows in a file of which some cells are known, and the file with all of them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synthmill.errors import UserError
from synthmill.runtime.options import DEFAULT_STORE, ResultFile, StorageOption, StoreOption, Verb

if TYPE_CHECKING:
    import pyarrow as pa


def register(app: typer.Typer, verb: Verb) -> None:
    """Add the command; `verb` makes a job of it."""
    app.command()(verb(impute))


def impute(
    model: Annotated[str, typer.Option(help="NAME or NAME@N; one that can complete rows.")],
    given: Annotated[str, typer.Option(help="A file of rows (CSV, Parquet, ...) with some cells known.")],
    output: Annotated[str, typer.Option(help="The file to write: .csv, or else Parquet.")],
    complete: Annotated[
        bool, typer.Option("--complete", help="Write all columns of the model, not those given alone.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Same seed, model and rows: same cells.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    store: StoreOption = DEFAULT_STORE,
    set_: StorageOption = None,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Fill the missing cells of rows with what goes with the known ones, which stay as they are."""
    from synthmill.catalog.store import Store
    from synthmill.config import fingerprint
    from synthmill.generation.completing import complete as complete_rows
    from synthmill.generation.generator import Generator
    from synthmill.runtime.given import read_given
    from synthmill.runtime.options import storage_settings

    settings, place = storage_settings(set_), Path(output)
    if place.exists() and not force:
        raise UserError(f"{place} exists; give another name, or --force", field="--output")
    generator = Generator.load(Store(store, settings).resolve("models", model, field="--model"))
    found = read_given(generator, given, settings)
    made = complete_rows(generator, found.table, seed=seed, field="--given")
    made = made if complete else made.select(found.table.column_names)
    key = fingerprint({"model": generator.digest, "given": found.sha256, "seed": seed, "complete": complete})
    write_mixed(place, made, key)
    missing = sum(found.table[name].null_count for name in found.table.column_names)
    return {"output": str(place), "rows": made.num_rows, "filled_cells": missing, "model": generator.ref}


def write_mixed(place: Path, made: "pa.Table", key: str) -> None:
    """A file of rows that a model made in part, which says so where its format has a place for that."""
    import pyarrow.csv
    import pyarrow.parquet as pq

    from synthmill.catalog.provenance import AIGC_KEY, SOURCE_TYPE_KEY, aigc, produce_id, source_type

    label = {SOURCE_TYPE_KEY: source_type(mixed=True), AIGC_KEY: json.dumps(aigc(produce_id(key)))}
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.suffix == ".csv":
        pyarrow.csv.write_csv(made, place)
    else:
        pq.write_table(made.replace_schema_metadata(label), place)
