"""The commands of the catalog: what there is, whether it is intact, copies of it, its end; added to the
command line by `register`."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synthmill.errors import IntegrityError, NotFoundError, UserError, did_you_mean
from synthmill.runtime.options import (
    DEFAULT_STORE,
    ResultFile,
    StorageOption,
    StoreOption,
    Verb,
    choice,
    storage_settings,
)

if TYPE_CHECKING:
    from synthmill.catalog.lake import Mode
    from synthmill.catalog.manifest import Kind
    from synthmill.catalog.store import Version

# Commands import what they need when they run: storage alone takes half a second, `--help` needs none of it.
OLDEST = timedelta(days=36_500)
HELP: dict["Kind", str] = {
    "models": "Trained models.",
    "datasets": "Published datasets.",
    "reports": "Evaluation reports.",
}


def register(app: typer.Typer, verb: Verb) -> None:
    """Add the commands; `verb` turns a function that returns its result into one that prints it and returns
    an exit code."""
    groups = {kind: typer.Typer(no_args_is_help=True, help=text) for kind, text in HELP.items()}
    runs = typer.Typer(no_args_is_help=True, help="Training runs and their checkpoints.")
    for kind, group in groups.items():
        _list_and_show(group, kind)
    groups["datasets"].command("pull")(verb(pull_dataset))
    groups["datasets"].command("export")(verb(export_dataset))
    groups["datasets"].command("files")(list_files)
    runs.command("list")(runs_list)
    runs.command("show")(runs_show)
    for name, group in (*groups.items(), ("runs", runs)):
        app.add_typer(group, name=name)
    for command in (verify, delete, gc):
        app.command()(verb(command))


def verify(
    uri: Annotated[str, typer.Argument(help="URI of a dataset, model or report version.")],
    set_: StorageOption = None,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Check every checksum of a version's manifest."""
    from synthmill.catalog import admin
    from synthmill.runtime.progress import say

    problems = admin.verify(uri, storage_settings(set_))
    for problem in problems:
        say(problem)
    if problems:
        raise IntegrityError(f"{uri}: {len(problems)} problem(s), first: {problems[0]}")
    return {"uri": uri, "verified": True}


def delete(
    ref: Annotated[str, typer.Argument(help="datasets/NAME@N, models/NAME@N or reports/NAME@N.")],
    store: StoreOption = DEFAULT_STORE,
    cascade: Annotated[bool, typer.Option("--cascade", help="Delete what descends from it as well.")] = False,
    set_: StorageOption = None,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Delete a version; refused while something descends from it. Its number is never used again."""
    from synthmill.catalog import admin
    from synthmill.catalog.store import Store

    return {"deleted": admin.delete(Store(store, storage_settings(set_)), ref, cascade=cascade)}


def gc(
    store: StoreOption = DEFAULT_STORE,
    older_than: Annotated[str, typer.Option("--older-than", help="7d, 12h, 30m.")] = "7d",
    set_: StorageOption = None,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Remove dead claims, quarantine, old runs and searches, and stray uploads; never a committed version or
    the search that it came from."""
    from synthmill.catalog import admin
    from synthmill.catalog.store import Store

    units = {"d": "days", "h": "hours", "m": "minutes"}
    # At most nine digits: Python's own limit on days is below ten.
    match = re.fullmatch(r"(\d{1,9})([dhm])", older_than)
    age = timedelta(**{units[match[2]]: int(match[1])}) if match else None
    if age is None or age > OLDEST:
        raise UserError(
            f"expected a number and d, h or m, such as 7d, at most {OLDEST.days}d, got {older_than[:80]!r}",
            field="--older-than",
        )
    return {"removed": admin.gc(Store(store, storage_settings(set_)), age)}


def _list_and_show(group: typer.Typer, kind: "Kind") -> None:
    @group.command("list")
    def list_(store: StoreOption = DEFAULT_STORE) -> None:
        """Complete versions, one a line: ref, created, rows, verdict."""
        from synthmill.catalog.store import Store
        from synthmill.runtime.progress import say

        for version in Store(store).open_versions(kind):
            manifest = version.manifest
            verdict = (manifest.gate or {}).get("verdict", "")
            say("\t".join(map(str, (version.ref, manifest.created, manifest.rows or "", verdict))).rstrip())

    @group.command("show")
    def show(
        ref: Annotated[str, typer.Argument(help="NAME or NAME@N.")], store: StoreOption = DEFAULT_STORE
    ) -> None:
        """The manifest of a version, as JSON."""
        from synthmill.catalog.store import Store
        from synthmill.config import dump
        from synthmill.runtime.progress import say

        version = Store(store).resolve(kind, ref, field=kind.rstrip("s"))
        say(json.dumps({"ref": version.ref, "uri": version.uri, **dump(version.manifest)}, indent=2))


def pull_dataset(
    ref: Annotated[str, typer.Argument(help="NAME or NAME@N.")],
    folder: Annotated[str, typer.Argument(help="Local folder.")],
    store: StoreOption = DEFAULT_STORE,
    set_: StorageOption = None,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Copy a dataset to a local folder and verify it."""
    from synthmill.catalog.dataset import pull
    from synthmill.catalog.store import Store

    version = Store(store, storage_settings(set_)).resolve("datasets", ref, field="dataset")
    local = pull(version, folder)
    return {"dataset": version.ref, "folder": str(local), "rows": version.manifest.rows}


def export_dataset(
    ref: Annotated[str, typer.Argument(help="NAME or NAME@N.")],
    folder: Annotated[
        str | None, typer.Argument(help="Local folder that gets the images, of a dataset of images.")
    ] = None,
    iceberg: Annotated[
        str | None,
        typer.Option(help="Iceberg table: a path, s3://bucket/folder or catalog://NAME/NAMESPACE/TABLE."),
    ] = None,
    delta: Annotated[str | None, typer.Option(help="Delta Lake table: a path or s3://bucket/folder.")] = None,
    mode: Annotated[
        str | None, typer.Option(help="Where the table exists: new (refuse, the default), append or replace.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    set_: StorageOption = None,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Write a dataset as an Iceberg or a Delta Lake table in one commit; or its images as files, a subfolder
    for each class, each of which says in itself that it is AI-generated. Of several tables each becomes one,
    below the place."""
    from synthmill.catalog.store import Store

    if sum(place is not None for place in (folder, iceberg, delta)) != 1:
        raise UserError("give one of a folder for images, --iceberg URI and --delta URI", field="FOLDER")
    if folder is not None and mode is not None:
        raise UserError("means nothing for images; leave it out", field="--mode")
    how = choice("--mode", mode or "new", ("new", "append", "replace"))
    version = Store(store, storage_settings(set_)).resolve("datasets", ref, field="dataset")
    if folder is not None:
        from synthmill.catalog.images import empty_folder, export_images

        empty_folder(Path(folder))
        return {"dataset": version.ref, "exported": folder, "images": export_images(version, Path(folder))}
    from synthmill.catalog.several import is_several
    from synthmill.catalog.tables import one_table, table_names

    lake, uri = ("iceberg", iceberg) if iceberg is not None else ("delta", str(delta))
    if not is_several(version):
        return {"dataset": version.ref, **_exported(version, uri, how, lake)}
    # A table each, below the place that was named; one commit each, as lakes have none over several.
    tables = {
        name: _exported(one_table(version, name), f"{uri.rstrip('/')}/{name}", how, lake)
        for name in table_names(version)
    }
    return {"dataset": version.ref, "tables": tables}


def _exported(version: "Version", uri: str, how: "Mode", lake: str) -> dict[str, Any]:
    """One table of a lake; what columns became is said."""
    from synthmill.runtime.progress import say

    if lake == "iceberg":
        from synthmill.catalog.iceberg import export_iceberg

        done = export_iceberg(version, uri, how)
    else:
        from synthmill.catalog.delta import export_delta

        done = export_delta(version, uri, how)
    for note in done.pop("notes"):
        say(note)
    return done


def list_files(
    ref: Annotated[str, typer.Argument(help="NAME or NAME@N.")], store: StoreOption = DEFAULT_STORE
) -> None:
    """The paths (or s3:// URIs) of a dataset's parts, one a line: for readers of a version that shares
    files."""
    from synthmill.catalog.dataset import part_entries
    from synthmill.catalog.manifest import home_of
    from synthmill.catalog.store import Store
    from synthmill.runtime.progress import say

    version = Store(store).resolve("datasets", ref, field="dataset")
    for entry in part_entries(version):
        home = home_of(version.folder, entry)
        # PyArrow and pandas take no file:// URIs in a list of files.
        say(str(home.local_path / entry.path) if home.local_path else home.uri_of(entry.path))


def runs_list(store: StoreOption = DEFAULT_STORE) -> None:
    """Training runs, one a line: ref, running or ended."""
    from synthmill.catalog.store import Store
    from synthmill.runtime.progress import say

    for run in Store(store).runs():
        say(f"{run.ref}\t{'running' if run.running else 'ended'}")


def runs_show(
    ref: Annotated[str, typer.Argument(help="NAME or NAME/N.")], store: StoreOption = DEFAULT_STORE
) -> None:
    """The newest record of a run, as JSON."""
    from synthmill.catalog.store import Store
    from synthmill.runtime.progress import say

    name, _, number = ref.partition("/")
    runs = [run for run in Store(store).runs(name) if number in ("", str(run.number))]
    if not runs:
        raise NotFoundError(
            f"no run {ref!r}{did_you_mean(ref, [run.ref for run in Store(store).runs()])}", field="run"
        )
    folder = runs[-1].folder
    record = folder.read_json("live.json") if folder.exists("live.json") else {}
    say(json.dumps({"ref": runs[-1].ref, "uri": folder.uri, "running": runs[-1].running, **record}, indent=2))
