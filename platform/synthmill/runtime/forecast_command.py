"""`synthmill forecast`: the rows after those of sequences in a file, as a file or as a dataset."""

import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from synthmill.errors import UserError
from synthmill.runtime.options import DEFAULT_STORE, ResultFile, StorageOption, StoreOption, Verb, choice


def register(app: typer.Typer, verb: Verb) -> None:
    """Add the command; `verb` makes a job of it."""
    app.command()(verb(forecast))


def forecast(
    model: Annotated[str, typer.Argument(help="NAME or NAME@N; one of sequences.")],
    given: Annotated[str, typer.Option(help="A file of rows (CSV, Parquet, ...) of some sequences.")],
    steps: Annotated[int, typer.Option(help="Rows to draw after those of each.")],
    rows_per: Annotated[
        int, typer.Option(help="Futures of each sequence; several are numbered by a column `future`.")
    ] = 1,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Which sequences go on: 'column=value', '>=', ... on what all rows of one share."),
    ] = None,
    output: Annotated[str | None, typer.Option(help="The file to write: .csv, or else Parquet.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Instead: the dataset to publish, written by Ray's workers.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, model and history: same rows.")] = 0,
    workers: Annotated[int | None, typer.Option(help="Writing processes; default: one for each CPU.")] = None,
    shard_rows: Annotated[
        int, typer.Option(help="About the rows of a part: whole blocks of 1,024 sequences.")
    ] = 65_536,
    portable: Annotated[
        bool, typer.Option("--portable", help="Same bytes on machines with different processors; slower.")
    ] = False,
    if_exists: Annotated[
        str, typer.Option(help="new: always a new version; reuse: the finished one with the same content.")
    ] = "new",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file that is there.")] = False,
    store: StoreOption = DEFAULT_STORE,
    set_: StorageOption = None,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Draw the rows that come after those of sequences: with their keys, their order going on."""
    if_exists = choice("--if-exists", if_exists, ("new", "reuse"))
    if (output is None) == (dataset is None):
        raise UserError("say where the rows go: --output FILE, or --dataset NAME", field="--output")
    for option, value in (("--steps", steps), ("--rows-per", rows_per)):
        if value < 1:
            raise UserError(f"must be at least 1, got {value}", field=option)
    from synthmill.generation.continuing import Ahead
    from synthmill.runtime.options import storage_settings

    ahead, settings = Ahead(steps=steps, futures=rows_per, where=tuple(where or ())), storage_settings(set_)
    if dataset is None:
        for option, given_too in (("--workers", workers is not None), ("--portable", portable)):
            if given_too:
                raise UserError("is for --dataset; a file is written by this process", field=option)
        return _to_file(model, given, ahead, Path(str(output)), seed, force, store, settings)
    from synthmill.runtime.augment import AugmentRequest, augment

    request = AugmentRequest(
        model=model,
        dataset=dataset,
        given=given,
        ahead=ahead,
        seed=seed,
        workers=workers,
        shard_rows=shard_rows,
        portable=portable,
        if_exists=if_exists,  # type: ignore[arg-type]
    )
    done = augment(request, store, run_id=uuid.uuid4().hex, storage=settings)
    return {
        "dataset": done.version.ref,
        "uri": done.version.uri,
        "rows": done.version.manifest.rows,
        "content_digest": done.version.manifest.content_digest,
        **({"reused": True} if done.reused else {}),
    }


def _to_file(
    model: str, given: str, ahead: Any, place: Path, seed: int, force: bool, store: str, settings: Any
) -> dict[str, Any]:
    """The rows as a file, drawn by this process."""
    from synthmill.catalog.store import Store
    from synthmill.config import fingerprint
    from synthmill.generation.continuing import forecast as drawn
    from synthmill.generation.continuing import published
    from synthmill.generation.generator import Generator
    from synthmill.runtime.given import FIELD, read_given
    from synthmill.runtime.impute_command import write_mixed

    if place.exists() and not force:
        raise UserError(f"{place} exists; give another name, or --force", field="--output")
    generator = Generator.load(Store(store, settings).resolve("models", model, field="--model"))
    found = read_given(generator, given, settings)
    rows = published(generator.codec, drawn(generator, found.table, ahead, seed=seed, field=FIELD))
    told = {"steps": ahead.steps, "futures": ahead.futures, "where": ahead.where}
    write_mixed(
        place, rows, fingerprint({"model": generator.digest, "given": found.sha256, "seed": seed, **told})
    )
    return {"output": str(place), "rows": rows.num_rows, "model": generator.ref}
