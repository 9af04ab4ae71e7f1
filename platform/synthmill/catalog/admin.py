"""Keeping a store in order: verify, delete, collect garbage.

Nothing here ever changes a committed version's bytes; a version is deleted as a whole or not at all.
"""

import uuid
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import NoReturn

from synthmill.catalog.lineage import descendants
from synthmill.catalog.manifest import FileEntry, Manifest, home_of, read_manifest, utc_now
from synthmill.catalog.store import KINDS, Store, Version, parse_ref
from synthmill.config import StorageConfig
from synthmill.errors import MissingError, NotFoundError, RecipeError, UserError
from synthmill.storage import publish
from synthmill.storage.folder import DEFAULT_SETTINGS, THREADS, Folder, json_bytes
from synthmill.storage.formats import format_name

LONGEST_WRITE = timedelta(hours=1)
"""A temporary file or an upload that is younger may still be in use by its writer."""


def verify(uri: str, settings: StorageConfig = DEFAULT_SETTINGS) -> list[str]:
    """Read every file of a version (dataset, model or report) and compare it with the manifest.

    Args:
        uri: the version's folder, or its manifest.

    Returns:
        one line for each problem; empty when everything is as it was published.

    Raises:
        NotFoundError: there is no committed version.
    """
    folder = Folder(uri.rstrip("/").removesuffix(f"/{publish.MANIFEST}"), settings)
    try:
        manifest = read_manifest(folder)
    except MissingError:
        raise NotFoundError(
            f"{folder.uri}: there is no {publish.MANIFEST}, so no committed version", field="URI"
        ) from None

    present = {entry.path for entry in folder.list()}

    def compare(entry: FileEntry) -> str | None:
        # A copy has the files of all versions in one folder.
        home = folder if entry.path in present else home_of(folder, entry)
        uri = home.uri_of(entry.path)
        try:
            sha256, size = home.digest(entry.path)
        except MissingError:
            return f"{uri}: is missing"
        if size != entry.bytes:
            return f"{uri}: has {size} bytes, the manifest says {entry.bytes}"
        return None if sha256 == entry.sha256 else f"{uri}: the bytes do not match the manifest's SHA-256"

    with ThreadPoolExecutor(THREADS) as pool:
        problems = [problem for problem in pool.map(compare, manifest.files) if problem]
    known = {entry.path for entry in manifest.files}
    # A file without "_" counts as data for every reader of the folder, whatever the manifest says.
    extra = [path for path in sorted(present - known) if path[0] != "_"]
    return problems + [f"{folder.uri_of(path)}: is not in the manifest" for path in extra]


def find(store: Store, ref: str, *, field: str = "REF") -> Version:
    """The version that `adult@1` names, or `models/adult@1` where that is ambiguous.

    Raises:
        RecipeError: no number (the newest version of today may not be tomorrow's), or still ambiguous.
        NotFoundError: no such version.
    """
    prefix, slash, rest = ref.rpartition("/")
    if slash and prefix not in KINDS:
        raise RecipeError(f"{ref!r}: expected one of {', '.join(KINDS)} before '/'", field=field)
    name, number = parse_ref(rest, field=field)
    if number is None:
        raise RecipeError(f"say which version, such as {name}@1", field=field)
    faults, matches = [], []
    for kind in (kind for kind in KINDS if prefix in ("", kind)):
        try:
            matches.append(store.resolve(kind, rest, field=field))
        except NotFoundError as fault:
            faults.append(fault)
    if not matches:
        # With a kind given, the one fault knows more: the numbers that exist, or that it was deleted.
        whole = NotFoundError(f"no dataset, model or report {rest} in {store.uri}", field=field)
        raise faults[0] if prefix else whole
    if len(matches) > 1:
        names = " or ".join(f"{version.kind}/{version.ref}" for version in matches)
        raise RecipeError(f"{ref!r} is ambiguous; write {names}", field=field)
    return matches[0]


def delete(store: Store, ref: str, *, cascade: bool = False) -> list[str]:
    """Delete a version; its number is never used again. Returns the deleted URIs.

    Raises:
        UserError: other versions descend from it and `cascade` is off; names them.
    """
    version = find(store, ref)
    children = descendants(store, version)
    if children and not cascade:
        _refuse(version, children)
    # The farthest first: an interruption leaves no version without the one that it came from.
    doomed = [*reversed(children), version]
    for each in doomed:
        tombstone = {
            "format": format_name("tombstone", 1),
            "ref": each.ref,
            "deleted": utc_now(),
            "content_digest": each.manifest.content_digest,
            "run_key": each.manifest.run_key,
        }
        # First of all: without a manifest and without a tombstone, the number could be claimed again.
        each.folder.create(publish.TOMBSTONE, json_bytes(tombstone))
        # Again, now that nobody can append to it any more: a version of meanwhile has its files from here.
        appended = descendants(store, each) if each.kind == "datasets" else []
        if sharing := [child for child in appended if _shares(child, each)]:
            each.folder.delete(publish.TOMBSTONE)
            _refuse(each, sharing)
        _empty_deleted(each.folder)
    return [each.uri for each in doomed]


def _shares(version: Version, base: Version) -> bool:
    same_name = (version.kind, version.name) == (base.kind, base.name)
    return same_name and any(entry.version == base.number for entry in version.manifest.files)


def _refuse(version: Version, children: list[Version]) -> NoReturn:
    names = ", ".join(f"{child.kind}/{child.ref}" for child in children[:5])
    names += ", ..." if len(children) > 5 else ""
    fix = "delete those first, or add --cascade"
    raise UserError(f"{version.ref} is what {names} came from; {fix}", field="REF")


def gc(store: Store, older_than: timedelta) -> list[str]:
    """Remove dead claims, quarantine, runs, searches, rows that only those were about, and leftovers of
    unfinished writes and deletions.

    Never a committed version nor the search that it came from, nor what has a live owner or was written to
    since `older_than` ago. Returns the removed URIs.
    """
    now = store.root.now()
    before = now - older_than
    removed: list[str] = []
    models = store.open_versions("models")
    # What a model's manifest says of its search can be looked up as long as the model is there.
    kept = {model.manifest.details.get("tune", {}).get("search") for model in models}
    for kind in (*KINDS, "runs", "tunes"):
        for name in store.root.child(kind).children():
            parent = store.root.child(kind, name)
            removed += _collect_versions(store, parent, before, kept if kind == "tunes" else frozenset())
    removed += _collect_sources(store, [model.manifest for model in models], before)
    # Runs of earlier versions had no numbers: their checkpoints lie in the run's own folder.
    runs = [store.root.child("runs", run) for run in store.root.child("runs").children()]
    unnumbered = [run for run in runs if not publish.numbers(run) and run.list()]
    quarantine = store.root.child("quarantine")
    refused = [
        quarantine.child(kind, name, number)
        for kind in quarantine.children()
        for name in quarantine.child(kind).children()
        for number in quarantine.child(kind, name).children()
    ]
    removed += [_remove(folder) for folder in [*unnumbered, *refused] if _untouched(folder, before)]
    strays = store.root.remove_strays(min(before, now - LONGEST_WRITE))
    return removed + [store.root.uri_of(path) for path in strays]


def _collect_versions(
    store: Store, parent: Folder, before: datetime, kept: Collection[str | None]
) -> list[str]:
    removed = []
    for state in publish.states(parent):
        if f"{parent.name}/{state.number}" in kept:
            continue
        folder = parent.child(str(state.number))
        if state.deleted:
            # An interrupted deletion is finished, even if the manifest is still there.
            if len(folder.list()) > 1:
                removed.append(_empty_deleted(folder))
            continue
        if state.committed or not _untouched(folder, before):
            continue
        # Claimed first: a job could otherwise take it over while its files are being removed.
        if publish.seize(folder, state.number, run_id=uuid.uuid4().hex, timing=store.timing):
            removed.append(_remove(folder))
    return removed


def _collect_sources(store: Store, models: list[Manifest], before: datetime) -> list[str]:
    """Rows in memory that searches were about, once no model and no search is left that came from them."""
    folder, removed = store.root.child("sources"), []
    used = {parent.ref for manifest in models for parent in manifest.parents if parent.kind == "source"}
    for search in store.runs(kind="tunes"):
        first = search.folder.child("events")
        if first.exists("00000000.json"):
            settings = first.read_json("00000000.json").get("settings", {})
            used.add(settings.get("recipe", {}).get("data", {}).get("source"))
        elif search.running:
            return []  # It has yet to say which rows it is about.
    # By name, which has the rows' digest in it: a store may have been moved since.
    names = {uri.rpartition("/")[2] for uri in used if uri}
    for entry in folder.list(recursive=False):
        if entry.path not in names and entry.modified <= before:
            folder.delete(entry.path)
            removed.append(folder.uri_of(entry.path))
    return removed


def _empty_deleted(folder: Folder) -> str:
    # The manifest first, so that no reader gets a version without its parts.
    folder.delete(publish.MANIFEST)
    folder.delete_all([entry.path for entry in folder.list() if entry.path != publish.TOMBSTONE])
    return folder.uri


def _remove(folder: Folder) -> str:
    # Claims last: as long as one is there, no other job takes the number.
    folder.delete_all([entry.path for entry in folder.list() if not entry.path.startswith("_claim.")])
    folder.delete_tree()
    return folder.uri


def _untouched(folder: Folder, before: datetime) -> bool:
    return all(entry.modified <= before for entry in folder.list())
