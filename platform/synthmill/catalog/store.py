"""What exists: names and versions of datasets, models and reports, under one root URI.

<store>/datasets/<name>/<n>/   models/   reports/     committed versions
<store>/runs/<run>/<n>/                               training: checkpoints and logs, claimed like versions
<store>/tunes/<search>/<n>/                           searches: journals, weights of the best trials
<store>/quarantine/<kind>/<name>/<n>.<run id>/        parts that a gate refused
"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import synthmill
from synthmill.catalog.manifest import (
    FileEntry,
    Kind,
    Manifest,
    content_digest,
    encode_schema,
    home_of,
    manifest_json,
    read_manifest,
    utc_now,
)
from synthmill.config import NAME_PATTERN, StorageConfig
from synthmill.errors import (
    ClaimLostError,
    MissingError,
    NotFoundError,
    RecipeError,
    StorageError,
    did_you_mean,
)
from synthmill.storage import publish
from synthmill.storage.folder import DEFAULT_SETTINGS, THREADS, Folder
from synthmill.storage.formats import format_name

RunKind = Literal["runs", "tunes"]
KINDS: tuple[Kind, ...] = ("datasets", "models", "reports")
_NAME = re.compile(NAME_PATTERN)
_REF = re.compile(r"^(?P<name>[^@]*)(?:@0*(?P<number>[1-9][0-9]{0,8}))?$", re.ASCII)


@dataclass(frozen=True)
class Version:
    """One committed, immutable version."""

    kind: Kind
    name: str
    number: int
    folder: Folder
    manifest: Manifest

    @property
    def ref(self) -> str:
        """`adult@1`."""
        return f"{self.name}@{self.number}"

    @property
    def uri(self) -> str:
        """The version's folder."""
        return self.folder.uri


@dataclass(frozen=True)
class Run:
    """One attempt at training, `runs/<name>/<number>`, or one search, `tunes/<name>/<number>`."""

    name: str
    number: int
    folder: Folder
    running: bool

    @property
    def ref(self) -> str:
        """`adult-3f2a9c81d0e4/1`."""
        return f"{self.name}/{self.number}"


class Store:
    """One root URI. Cheap to make: nothing is read before a method needs it."""

    def __init__(
        self,
        uri: str | Path,
        settings: StorageConfig = DEFAULT_SETTINGS,
        *,
        timing: publish.Timing = publish.DEFAULT_TIMING,
    ) -> None:
        self.root = Folder(uri, settings)
        self.uri = self.root.uri
        self.timing = timing
        self._probed = False

    def folder_of(self, kind: Kind, name: str, *, field: str = "name") -> Folder:
        """Where the versions of a name are; RecipeError for a name that can't be one."""
        return self.root.child(kind, check_name(name, field=field))

    def run_folder(self, run_name: str, kind: RunKind = "runs") -> Folder:
        """Where a training run keeps checkpoints and logs, or a search its journal."""
        return self.root.child(kind, check_name(run_name, field="run name"))

    def names(self, kind: Kind) -> list[str]:
        """Names with at least one committed version, sorted."""
        return list(dict.fromkeys(name for name, _ in self._committed(kind)))

    def versions(self, kind: Kind, name: str) -> list[int]:
        """Committed numbers, ascending."""
        return [state.number for state in publish.states(self.folder_of(kind, name)) if state.readable]

    def resolve(self, kind: Kind, ref: str, *, field: str) -> Version:
        """The version that `name@number` or `name` (the newest committed one) means.

        Raises:
            NotFoundError: no such name, or not that number; names `field` and what exists.
        """
        name, number = parse_ref(ref, field=field)
        parent = self.folder_of(kind, name, field=field)
        # Only manifests are read, newest first: listing the state of every version would cost more requests.
        for candidate in [number] if number else reversed(publish.numbers(parent)):
            folder = parent.child(str(candidate))
            try:
                return Version(kind, name, candidate, folder, read_manifest(folder))
            except MissingError:
                continue  # Still being written, given up or deleted.
        thing, numbers = kind.removesuffix("s"), self.versions(kind, name)
        if number and parent.child(str(number)).exists(publish.TOMBSTONE):
            raise NotFoundError(f"{thing} {name}@{number} was deleted from {self.uri}", field=field)
        if number and numbers:
            existing = ", ".join(f"{name}@{n}" for n in numbers[-10:])
            message = f"no {thing} {name}@{number} in {self.uri}; there is: {existing}"
            raise NotFoundError(message, field=field)
        hint = did_you_mean(name, self.names(kind))
        raise NotFoundError(f"no {thing} named {name!r} in {self.uri}{hint}", field=field)

    def open_versions(self, kind: Kind) -> list[Version]:
        """Every committed version of a kind, by name and number."""

        def opened(found: tuple[str, int]) -> Version | None:
            name, number = found
            folder = self.root.child(kind, name, str(number))
            try:
                return Version(kind, name, number, folder, read_manifest(folder))
            except MissingError:
                return None  # Deleted since it was listed.

        with ThreadPoolExecutor(THREADS) as pool:
            return [version for version in pool.map(opened, self._committed(kind)) if version is not None]

    def _committed(self, kind: Kind) -> list[tuple[str, int]]:
        # One listing of everything: a request for each version costs seconds from a thousand versions on.
        found = sorted(publish.all_states(self.root.child(kind)).items())
        # Folders that another program put there are left alone.
        return [
            (name, state.number)
            for name, states in found
            if _NAME.fullmatch(name)
            for state in states
            if state.readable
        ]

    def begin(
        self, kind: Kind, name: str, *, run_key: str, run_id: str, if_exists: Literal["new", "reuse"] = "new"
    ) -> "Draft":
        """Claim a version to write; with "reuse", a committed one of the same run key if there is one.

        Raises:
            StorageError: the store can't be written to, or lets a second create succeed.
        """
        parent = self.folder_of(kind, name)
        # Before the work: a job must not compute for hours for a store that refuses the result.
        if not self._probed:
            self.root.probe_write()
            self._probed = True
        existing = publish.states(parent)
        number = publish.finished(parent, run_key, existing) if if_exists == "reuse" else None
        if number is not None:
            finished = self.resolve(kind, f"{name}@{number}", field="name")
            return Draft(self, kind, name, run_key, run_id, finished=finished)
        lease = publish.acquire(parent, existing, run_key=run_key, run_id=run_id, timing=self.timing)
        return Draft(self, kind, name, run_key, run_id, lease=lease)

    def runs(self, run_name: str | None = None, *, kind: RunKind = "runs") -> list[Run]:
        """Training runs or searches, those of one name or all, the oldest attempt of a name first."""
        names = [run_name] if run_name is not None else self.root.child(kind).children()
        runs = []
        for name in (name for name in names if _NAME.fullmatch(name)):
            for state in publish.states(self.run_folder(name, kind)):
                folder = self.run_folder(name, kind).child(str(state.number))
                runs.append(Run(name, state.number, folder, publish.owned(folder, state, self.timing)))
        return runs

    @contextmanager
    def begin_run(
        self, run_name: str, *, run_key: str, run_id: str, kind: RunKind = "runs"
    ) -> Iterator[publish.Lease]:
        """Own a folder `runs/<run_name>/<n>` while inside: a dead owner's of the same run key, or a new one.

        So concurrent runs of the same recipe keep their checkpoints apart.
        """
        parent = self.run_folder(run_name, kind)
        existing = publish.states(parent)
        lease = publish.acquire(parent, existing, run_key=run_key, run_id=run_id, timing=self.timing)
        with lease.alive():
            yield lease


class Draft:
    """A version being written. Inside `with draft:` its heartbeat runs; an end without commit releases it."""

    def __init__(
        self,
        store: Store,
        kind: Kind,
        name: str,
        run_key: str,
        run_id: str,
        *,
        lease: publish.Lease | None = None,
        finished: Version | None = None,
    ) -> None:
        owned = lease or finished
        assert owned is not None, "a draft is either claimed or finished"
        self.store, self.kind, self.name, self.run_key, self.run_id = store, kind, name, run_key, run_id
        self.number, self.folder = owned.number, owned.folder
        self.finished = finished
        # Then parts of the dead owner may be there already.
        self.taken_over = lease is not None and lease.claim > 1
        self._lease = lease
        self._open = ExitStack()

    @property
    def ref(self) -> str:
        """`adult@1`; not to be printed before commit, as another job may still get the number."""
        return f"{self.name}@{self.number}"

    def __enter__(self) -> Self:
        if self._lease is not None:
            self._open.enter_context(self._lease.alive())
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def check_owned(self) -> None:
        """ClaimLostError if another job took over this version; asks the store."""
        if self._lease is not None:
            self._lease.check()

    def check_alive(self) -> None:
        """ClaimLostError if the heartbeat noticed that another job took over this version; no request."""
        if self._lease is not None:
            self._lease.check_alive()

    def manifest(self, *, files: tuple[FileEntry, ...], schema: Any = None, **fields: Any) -> Manifest:
        """This version's manifest; `schema` is the Arrow schema of data parts, `fields` are `Manifest`'s."""
        text = encode_schema(schema) if schema is not None else None
        shared = any(entry.version is not None for entry in files)
        return Manifest(
            # Versions of Synthmill that know no shared files must refuse it by name.
            format=format_name("manifest", 2 if shared else 1),
            kind=self.kind,
            name=self.name,
            number=self.number,
            run_id=self.run_id,
            run_key=self.run_key,
            created=utc_now(),
            files=files,
            arrow_schema=text,
            rows=sum(entry.rows or 0 for entry in files) if schema is not None else None,
            code_version=synthmill.__version__,
            content_digest=content_digest(files, text),
            **fields,
        )

    def commit(self, manifest: Manifest) -> Version:
        """Make the version exist, once every file of the manifest is in its folder with its size.

        Raises:
            ClaimLostError: another job owns the version now.
            StorageError: a file of the manifest is missing or has another size.
        """
        lease = self._claimed()
        stated = (manifest.kind, manifest.name, manifest.number, manifest.run_id, manifest.run_key)
        own = (self.kind, self.name, self.number, self.run_id, self.run_key)
        assert stated == own, f"the manifest of {self.ref} names another version"
        # A committed version is immutable, so what is missing now would be missing for ever.
        shared = {home_of(self.folder, entry) for entry in manifest.files if entry.version is not None}
        sizes = {
            (folder, entry.path): entry.bytes for folder in (self.folder, *shared) for entry in folder.list()
        }
        for entry in manifest.files:
            home = home_of(self.folder, entry)
            found = sizes.get((home, entry.path))
            if found != entry.bytes:
                fault = "is not there" if found is None else f"has {found} bytes"
                fault += f", its manifest says {entry.bytes} bytes; not committed"
                raise StorageError(f"{home.uri_of(entry.path)}: {fault}")
        if not lease.commit(manifest_json(manifest)):
            raise ClaimLostError(f"{self.folder.uri}: another job committed this version first")
        # `delete` writes its tombstone and then looks for versions that share: one of the two sees the other.
        if deleted := [folder for folder in shared if folder.exists(publish.TOMBSTONE)]:
            self.folder.delete(publish.MANIFEST)
            raise StorageError(
                f"{deleted[0].uri} was deleted while {self.ref} was made from it; not committed"
            )
        return Version(self.kind, self.name, self.number, self.folder, manifest)

    def quarantine(self, reason: str) -> str:
        """Move all that was written to the quarantine folder, with the reason; returns the new URI."""
        lease = self._claimed()
        lease.check()
        target = self.store.root.child("quarantine", self.kind, self.name, f"{self.number}.{self.run_id}")
        content = {"format": format_name("quarantine", 1), "reason": reason}
        target.write_json("_reason.json", content | {"ref": self.ref, "run_key": self.run_key})
        # The claim stays, or another job would take the number while files are still being moved.
        own = ("_claim.", "_heartbeat.")
        paths = [entry.path for entry in self.folder.list() if not entry.path.startswith(own)]
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(lambda path: self.folder.move(path, target, path), paths):
                pass
        return target.uri

    def _claimed(self) -> publish.Lease:
        assert self._lease is not None, f"{self.ref} is finished already; nothing can be written to it"
        return self._lease


def check_name(name: str, *, field: str) -> str:
    """The name, unchanged; RecipeError if it can't name something in a store."""
    if not _NAME.fullmatch(name):
        fix = "use lower-case letters, digits, '.', '_' and '-', starting with a letter or digit"
        raise RecipeError(f"{name!r} is not a name; {fix}", field=field)
    return name


def parse_ref(ref: str, *, field: str) -> tuple[str, int | None]:
    """("adult", 3) from "adult@3", ("adult", None) from "adult"; RecipeError otherwise."""
    match = _REF.fullmatch(ref)
    if match is None:
        fix = "write NAME or NAME@NUMBER, such as adult@3"
        raise RecipeError(f"{ref!r} is not a reference; {fix}", field=field)
    return check_name(match["name"], field=field), int(match["number"]) if match["number"] else None
