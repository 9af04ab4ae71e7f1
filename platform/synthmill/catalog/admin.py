"""Keeping a store in order: verify, delete, collect garbage. Nothing here ever changes a committed version's
bytes."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from synthmill.catalog.lineage import descendants
from synthmill.catalog.manifest import FileEntry, read_manifest, utc_now
from synthmill.catalog.store import KINDS, Store, Version, parse_ref
from synthmill.config import StorageConfig
from synthmill.errors import MissingError, NotFoundError, RecipeError, UserError
from synthmill.storage import publish
from synthmill.storage.folder import DEFAULT_SETTINGS, THREADS, Folder, json_bytes
from synthmill.storage.formats import format_name

LONGEST_WRITE = timedelta(hours=1)
"""A temporary file or an upload that is younger may belong to somebody who is writing."""


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
    with ThreadPoolExecutor(THREADS) as pool:
        problems = [
            problem for problem in pool.map(lambda entry: _compare(folder, entry), manifest.files) if problem
        ]
    known = {entry.path for entry in manifest.files}
    extra = [
        entry.path for entry in folder.list() if entry.path not in known and not entry.path.startswith("_")
    ]
    return problems + [f"{folder.uri_of(path)}: is not in the manifest" for path in extra]


def find(store: Store, ref: str, *, field: str = "REF") -> Version:
    """The version that `adult@1` or, where that is ambiguous, `models/adult@1` means; the number is
    required."""
    prefix, slash, rest = ref.rpartition("/")
    if slash and prefix not in KINDS:
        raise RecipeError(f"{ref!r}: expected one of {', '.join(KINDS)} before '/'", field=field)
    name, number = parse_ref(rest, field=field)
    if number is None:
        raise RecipeError(f"say which version, such as {name}@1", field=field)
    faults, found = [], []
    for kind in (kind for kind in KINDS if prefix in ("", kind)):
        try:
            found.append(store.resolve(kind, rest, field=field))
        except NotFoundError as fault:
            faults.append(fault)
    if not found:
        raise (
            faults[0]
            if prefix
            else NotFoundError(f"no dataset, model or report {rest} in {store.uri}", field=field)
        )
    if len(found) > 1:
        raise RecipeError(
            f"{ref!r} is ambiguous; write"
            f" {' or '.join(f'{version.kind}/{version.ref}' for version in found)}",
            field=field,
        )
    return found[0]


def delete(store: Store, ref: str, *, cascade: bool = False) -> list[str]:
    """Delete a version; its number is never used again. Returns the URIs that are gone.

    Raises:
        UserError: something descends from it and `cascade` was not asked for; names what.
    """
    version = find(store, ref)
    children = descendants(store, version)
    if children and not cascade:
        names = ", ".join(f"{child.kind}/{child.ref}" for child in children[:5]) + (
            ", ..." if len(children) > 5 else ""
        )
        raise UserError(
            f"{version.ref} is what {names} came from; delete those first, or add --cascade", field="REF"
        )
    doomed = [*reversed(children), version]
    for each in doomed:
        _bury(each)
    return [each.uri for each in doomed]


def gc(store: Store, older_than: timedelta) -> list[str]:
    """Remove what nobody owns and nobody touched for at least that long: dead claims, quarantine, runs,
    leftovers of unfinished writes. Never a committed version, and nothing whose owner lives. Returns the URIs
    that are gone."""
    now = store.root.now()
    before = now - older_than
    removed: list[str] = []
    for kind in (*KINDS, "runs"):
        for name in store.root.child(kind).children():
            removed += _collect_versions(store, store.root.child(kind, name), before)
    removed += [
        _remove(run)
        for run in _runs(store)
        if not publish.states(run) and run.list() and _untouched(run, before)
    ]
    quarantine = store.root.child("quarantine")
    refused = [quarantine.child(kind, name, number) for kind, name, number in _three_levels(quarantine)]
    removed += [_remove(folder) for folder in refused if _untouched(folder, before)]
    return removed + [
        store.root.uri_of(path) for path in store.root.remove_strays(min(before, now - LONGEST_WRITE))
    ]


def _runs(store: Store) -> list[Folder]:
    return [store.root.child("runs", run) for run in store.root.child("runs").children()]


def _collect_versions(store: Store, parent: Folder, before: datetime) -> list[str]:
    removed = []
    for state in publish.states(parent):
        folder = parent.child(str(state.number))
        if state.committed:
            continue
        if state.deleted:
            removed += [_bury_rest(folder)] if len(folder.list()) > 1 else []
        elif _untouched(folder, before) and publish.seize(
            folder, state.number, run_id=uuid.uuid4().hex, timing=store.timing
        ):
            removed.append(_remove(folder))
    return removed


def _bury(version: Version) -> None:
    """Tombstone first and manifest next: whoever is interrupted leaves a version that exists or one that
    never will again."""
    tombstone = {
        "format": format_name("tombstone", 1),
        "ref": version.ref,
        "deleted": utc_now(),
        "content_digest": version.manifest.content_digest,
        "run_key": version.manifest.run_key,
    }
    version.folder.create(publish.TOMBSTONE, json_bytes(tombstone))
    version.folder.delete(publish.MANIFEST)
    _bury_rest(version.folder)


def _bury_rest(folder: Folder) -> str:
    folder.delete_all([entry.path for entry in folder.list() if entry.path != publish.TOMBSTONE])
    return folder.uri


def _remove(folder: Folder) -> str:
    """Claims last: as long as one is there, nobody else takes the number."""
    folder.delete_all([entry.path for entry in folder.list() if not entry.path.startswith("_claim.")])
    folder.delete_tree()
    return folder.uri


def _untouched(folder: Folder, before: datetime) -> bool:
    return all(entry.modified <= before for entry in folder.list())


def _three_levels(folder: Folder) -> list[tuple[str, str, str]]:
    return [
        (kind, name, number)
        for kind in folder.children()
        for name in folder.child(kind).children()
        for number in folder.child(kind, name).children()
    ]


def _compare(folder: Folder, entry: FileEntry) -> str | None:
    uri = folder.uri_of(entry.path)
    try:
        sha256, size = folder.digest(entry.path)
    except MissingError:
        return f"{uri}: is missing"
    if size != entry.bytes:
        return f"{uri}: has {size} bytes, the manifest says {entry.bytes}"
    return None if sha256 == entry.sha256 else f"{uri}: the bytes do not match the manifest's SHA-256"
