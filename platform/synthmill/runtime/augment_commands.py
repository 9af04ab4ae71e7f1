"""The command that publishes a dataset; added to the command line by `register`."""

import uuid
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

import typer

from synthmill.errors import UserError
from synthmill.runtime.options import (
    DEFAULT_STORE,
    ResultFile,
    StorageOption,
    StoreOption,
    Verb,
    choice,
    storage_settings,
)


def register(app: typer.Typer, verb: Verb) -> None:
    """Add the command; `verb` turns a function that returns its result into one that prints it and returns an
    exit code."""
    app.command()(verb(augment))


def augment(
    model: Annotated[str, typer.Option(help="NAME or NAME@N.")],
    dataset: Annotated[str, typer.Option(help="Name of the dataset.")],
    rows: Annotated[
        int | None,
        typer.Option(
            help="Synthetic rows to publish; of several tables, of the one that hangs on no other; with"
            " --given: as many as it holds."
        ),
    ] = None,
    sequences: Annotated[
        int | None, typer.Option(help="Instead of --rows, of a model of sequences: whole ones to publish.")
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="Instead, of several tables: a multiple of the source's rows.")
    ] = None,
    given: Annotated[
        str | None, typer.Option(help="A file of rows with some cells known: each is completed, in order.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    seed: Annotated[int, typer.Option(help="Same seed, model and rows: same bytes.")] = 0,
    workers: Annotated[int | None, typer.Option(help="Writing processes; default: one for each CPU.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="'column=value', '!=', '<=', '>=', '<', '>'; given again: AND; of several tables:"
            " 'table.column=value'."
        ),
    ] = None,
    latent: Annotated[
        list[str] | None,
        typer.Option(help="name=value: a latent code to fix (infogan: c1, c2); may be given again."),
    ] = None,
    balance: Annotated[str | None, typer.Option(help="Equalise the classes of this column.")] = None,
    mix_real: Annotated[
        bool, typer.Option("--mix-real", help="Publish the train rows too, with a column is_synthetic.")
    ] = False,
    columns: Annotated[str | None, typer.Option(help="Comma-separated; default: all.")] = None,
    require: Annotated[str | None, typer.Option(help="pass: publish only if the gates pass.")] = None,
    allow_inconclusive: Annotated[
        bool, typer.Option("--allow-inconclusive", help="With --require pass: enough if no gate fails.")
    ] = False,
    allow_copies: Annotated[
        bool, typer.Option("--allow-copies", help="Publish from a control that copies training rows.")
    ] = False,
    gates: Annotated[
        str | None, typer.Option(help="A gates file, or 'default'; default: what the model's recipe says.")
    ] = None,
    portable: Annotated[
        bool, typer.Option("--portable", help="Same bytes on machines with different processors; slower.")
    ] = False,
    shard_rows: Annotated[int, typer.Option(help="Rows in a part; sequences, of a model of those.")] = 65_536,
    file_size: Annotated[
        str | None, typer.Option(help="Instead of --shard-rows: about the size of a part, such as 128MB.")
    ] = None,
    row_group_rows: Annotated[int, typer.Option(help="Rows in a row group of a part.")] = 65_536,
    partition_by: Annotated[
        str | None, typer.Option(help="COL[,COL]: columns of categories whose values become Hive folders.")
    ] = None,
    append: Annotated[
        bool, typer.Option("--append", help="Add to the newest version; the new one shares its files.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what memory, disk and time it would take, and stop.")
    ] = False,
    if_exists: Annotated[
        str, typer.Option(help="new: always a new version; reuse: the finished one with the same content.")
    ] = "new",
    export: Annotated[
        str | None,
        typer.Option(help="Local folder that gets the images as labelled files, a subfolder a class."),
    ] = None,
    set_: StorageOption = None,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Publish a synthetic dataset as Parquet: exactly once, the same bytes for any number of workers."""
    # Before the store is asked for anything.
    require = choice("--require", require, ("pass",))
    if_exists = choice("--if-exists", if_exists, ("new", "reuse"))
    options = dict(locals())
    if _is_several(model, store, set_):
        if given is not None:
            raise UserError("completes rows of one table; leave it out", field="--given")
        if sequences is not None:
            raise UserError("is for sequences of one table; give --scale or --rows", field="--sequences")
        return _augment_tables(options)
    if given is not None and sequences is not None:
        raise UserError("means nothing beside --given; leave it out", field="--sequences")
    if (rows is None and given is None and sequences is None) or scale is not None:
        raise UserError("say how many rows with --rows; --scale is for several tables", field="--rows")
    from synthmill.runtime.augment import AugmentRequest, augment
    from synthmill.runtime.output import Output, bytes_of
    from synthmill.runtime.sequences import one_of

    request = AugmentRequest(
        model=model,
        dataset=dataset,
        rows=rows if given is not None else one_of(rows, sequences),
        sequences=sequences is not None,
        given=given,
        seed=seed,
        workers=workers,
        where=tuple(where or ()),
        latent=tuple(latent or ()),
        balance=balance,
        mix_real=mix_real,
        columns=_names(columns) or None,
        shard_rows=shard_rows,
        require=require,  # type: ignore[arg-type]
        allow_inconclusive=allow_inconclusive,
        allow_copies=allow_copies,
        portable=portable,
        if_exists=if_exists,  # type: ignore[arg-type]
        gates=gates,
        output=Output(partition_by=_names(partition_by), row_group_rows=row_group_rows),
        file_bytes=bytes_of(file_size, field="--file-size") if file_size is not None else None,
        append=append,
    )
    if dry_run:
        from synthmill.runtime.estimate import estimate_augment

        return {"dry_run": True, "estimate": estimate_augment(request, store, storage=storage_settings(set_))}
    if export is not None:
        from synthmill.catalog.images import empty_folder, export_images

        # A folder with files in it is refused before any work.
        empty_folder(Path(export))
    done = augment(request, store, run_id=uuid.uuid4().hex, storage=storage_settings(set_))
    manifest = done.version.manifest
    exported = (
        {"exported": export, "images": export_images(done.version, Path(export))}
        if export is not None
        else {}
    )
    return {
        "dataset": done.version.ref,
        "uri": done.version.uri,
        "rows": manifest.rows,
        "content_digest": manifest.content_digest,
        "verdict": done.verdict,
        "report": (manifest.gate or {}).get("report"),
        **({"reused": True} if done.reused else {}),
        **exported,
    }


def _is_several(model: str, store: str, set_: list[str] | None) -> bool:
    """Whether the model is of several tables."""
    from synthmill.catalog.several import is_several
    from synthmill.catalog.store import Store

    return is_several(Store(store, storage_settings(set_)).resolve("models", model, field="--model"))


def _augment_tables(given: dict[str, Any]) -> dict[str, Any]:
    """The command for a model of several tables; options that mean nothing there are refused."""
    from synthmill.runtime.augment_tables import TablesRequest, augment_tables

    known = {"model", "dataset", "rows", "scale", "store", "seed", "workers", "portable", "shard_rows"}
    known |= {"where", "if_exists", "set_", "result_file", "require", "allow_inconclusive", "gates"}
    plain = {parameter.name: parameter.default for parameter in signature(augment).parameters.values()}
    for name, value in given.items():
        if name not in known and value != plain[name]:
            raise UserError(
                "can't be given for several tables yet; leave it out", field=f"--{name.replace('_', '-')}"
            )
    if given["rows"] is not None and given["scale"] is not None:
        raise UserError("can't be given with --rows; leave one of them out", field="--scale")
    request = TablesRequest(
        model=given["model"],
        dataset=given["dataset"],
        scale=1.0 if given["scale"] is None else given["scale"],
        rows=given["rows"],
        where=tuple(given["where"] or ()),
        seed=given["seed"],
        workers=given["workers"],
        stretch_rows=given["shard_rows"],
        portable=given["portable"],
        if_exists=given["if_exists"],
        require=given["require"],
        allow_inconclusive=given["allow_inconclusive"],
        gates=given["gates"],
    )
    version = augment_tables(
        request, given["store"], run_id=uuid.uuid4().hex, storage=storage_settings(given["set_"])
    )
    tables = version.manifest.details["tables"]
    return {
        "dataset": version.ref,
        "uri": version.uri,
        "rows": version.manifest.rows,
        "tables": {name: table["rows"] for name, table in tables.items()},
        "content_digest": version.manifest.content_digest,
        "verdict": (version.manifest.gate or {}).get("verdict"),
        "report": (version.manifest.gate or {}).get("report"),
    }


def _names(text: str | None) -> tuple[str, ...]:
    """The columns in a comma-separated list."""
    return tuple(name for part in (text or "").split(",") if (name := part.strip()))
