"""What exists: names and versions of datasets, models and reports, under one root URI.

<store>/datasets/<name>/<n>/   models/   reports/     committed versions
<store>/runs/<run>/<n>/                               checkpoints and logs of training runs, claimed like
versions <store>/quarantine/<kind>/<name>/<n>.<run id>/        parts that a gate refused
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

KINDS: tuple[Kind, ...] = ("datasets", "models", "reports")
_NAME = re.compile(NAME_PATTERN)
_REF = re.compile(r"^(?P<name>[^@]*)(?:@(?P<number>[0-9]{1,9}))?$")


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
    """One attempt at training: `runs/<name>/<number>`."""

    name: str
    number: int
    folder: Folder
    running: bool

    @property
    def ref(self) -> str:
        """`adult-3f2a9c81d0e4/1`."""
        return f"{self.name}/{self.number}"


class Store:
    """One root URI. Cheap to make; nothing is read before it is asked for."""

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

    def run_folder(self, run_name: str) -> Folder:
        """Where a training run keeps checkpoints and logs."""
        return self.root.child("runs", check_name(run_name, field="run name"))

    def names(self, kind: Kind) -> list[str]:
        """Names with at least one committed version, sorted."""
        known = [name for name in self.root.child(kind).children() if _NAME.fullmatch(name)]
        with ThreadPoolExecutor(THREADS) as pool:
            return [
                name
                for name, numbers in zip(
                    known, pool.map(lambda name: self.versions(kind, name), known), strict=True
                )
                if numbers
            ]

    def versions(self, kind: Kind, name: str) -> list[int]:
        """Committed numbers, ascending."""
        return [
            state.number
            for state in publish.states(self.folder_of(kind, name))
            if state.committed and not state.deleted
        ]

    def resolve(self, kind: Kind, ref: str, *, field: str) -> Version:
        """The version that `name@number` or `name` (the newest committed one) means.

        Raises:
            NotFoundError: nothing by that name, or not that number; names `field` and what there is.
        """
        name, number = parse_ref(ref, field=field)
        parent = self.folder_of(kind, name, field=field)
        candidates = (
            [number]
            if number
            else sorted((int(child) for child in parent.children() if child.isdigit()), reverse=True)
        )
        for candidate in candidates:
            folder = parent.child(str(candidate))
            try:
                return Version(kind, name, candidate, folder, read_manifest(folder))
            except MissingError:
                continue
        raise self._not_found(kind, name, number, field)

    def open_versions(self, kind: Kind) -> list[Version]:
        """Every committed version of a kind, by name and number."""
        names = [name for name in self.root.child(kind).children() if _NAME.fullmatch(name)]
        with ThreadPoolExecutor(THREADS) as pool:
            numbers = list(pool.map(lambda name: self.versions(kind, name), names))
            wanted = [(name, number) for name, found in zip(names, numbers, strict=True) for number in found]
            return list(pool.map(lambda item: self.resolve(kind, f"{item[0]}@{item[1]}", field=kind), wanted))

    def begin(
        self, kind: Kind, name: str, *, run_key: str, run_id: str, if_exists: Literal["new", "reuse"] = "new"
    ) -> "Draft":
        """Claim a version to write. With "reuse", a committed version of the same run key is returned instead
        of claiming.

        Raises:
            StorageError: the store can't be written, or lets a second create succeed.
        """
        parent = self.folder_of(kind, name)
        if not self._probed:
            self.root.probe_write()
            self._probed = True
        found = publish.states(parent)
        number = publish.finished(parent, run_key, found) if if_exists == "reuse" else None
        if number is not None:
            return Draft(
                self,
                kind,
                name,
                run_key,
                run_id,
                finished=self.resolve(kind, f"{name}@{number}", field="name"),
            )
        return Draft(
            self,
            kind,
            name,
            run_key,
            run_id,
            lease=publish.acquire(parent, found, run_key=run_key, run_id=run_id, timing=self.timing),
        )

    def runs(self, run_name: str | None = None) -> list[Run]:
        """Training runs, those of one name or all, the oldest attempt of a name first."""
        names = [run_name] if run_name is not None else self.root.child("runs").children()
        return [
            Run(name, state.number, folder, publish.owned(folder, state, self.timing))
            for name in names
            if _NAME.fullmatch(name)
            for state in publish.states(self.run_folder(name))
            for folder in [self.run_folder(name).child(str(state.number))]
        ]

    @contextmanager
    def begin_run(self, run_name: str, *, run_key: str, run_id: str) -> Iterator[publish.Lease]:
        """Own a folder `runs/<run_name>/<n>` while inside: one that an ended owner of the same run key left,
        or a new one.

        Two jobs that compute the same at the same time therefore keep their checkpoints apart.
        """
        parent = self.run_folder(run_name)
        lease = publish.acquire(
            parent, publish.states(parent), run_key=run_key, run_id=run_id, timing=self.timing
        )
        with lease.alive():
            yield lease

    def _not_found(self, kind: Kind, name: str, number: int | None, field: str) -> NotFoundError:
        thing, numbers = kind.removesuffix("s"), self.versions(kind, name)
        if number and self.folder_of(kind, name).child(str(number)).exists(publish.TOMBSTONE):
            return NotFoundError(f"{thing} {name}@{number} was deleted from {self.uri}", field=field)
        if number and numbers:
            have = ", ".join(f"{name}@{n}" for n in numbers[-10:])
            return NotFoundError(f"no {thing} {name}@{number} in {self.uri}; there is: {have}", field=field)
        return NotFoundError(
            f"no {thing} named {name!r} in {self.uri}{did_you_mean(name, self.names(kind))}", field=field
        )


class Draft:
    """A version being written. Inside `with draft:` its heartbeat runs; leaving without commit releases the
    claim."""

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
        self.taken_over = lease is not None and lease.claim > 1
        self._lease = lease
        self._open = ExitStack()

    @property
    def ref(self) -> str:
        """`adult@1`; nothing to print before commit."""
        return f"{self.name}@{self.number}"

    def __enter__(self) -> Self:
        if self._lease is not None:
            self._open.enter_context(self._lease.alive())
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def check_owned(self) -> None:
        """ClaimLostError if another job took this version over."""
        if self._lease is not None:
            self._lease.check()

    def check_alive(self) -> None:
        """ClaimLostError if the heartbeat has found that another job took this version over; asks the store
        nothing."""
        if self._lease is not None and self._lease.lost:
            raise ClaimLostError(
                f"{self.folder.uri}: another job took this version over while this one was not heard of"
            )

    def manifest(self, *, files: tuple[FileEntry, ...], schema: Any = None, **fields: Any) -> Manifest:
        """The manifest of this version with these files; `schema` is the Arrow schema of data parts, `fields`
        are those of `Manifest`."""
        text = encode_schema(schema) if schema is not None else None
        return Manifest(
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
        """Make the version exist, after checking that every file of the manifest is there with its size.

        Raises:
            ClaimLostError: another job owns the version now.
            StorageError: a file of the manifest is missing or has another size.
        """
        lease = self._claimed()
        stated = (manifest.kind, manifest.name, manifest.number, manifest.run_id, manifest.run_key)
        assert stated == (
            self.kind,
            self.name,
            self.number,
            self.run_id,
            self.run_key,
        ), f"the manifest of {self.ref} names another version"
        self._check_files(manifest)
        if not lease.commit(manifest_json(manifest)):
            raise ClaimLostError(f"{self.folder.uri}: another job committed this version first")
        return Version(self.kind, self.name, self.number, self.folder, manifest)

    def quarantine(self, reason: str) -> str:
        """Move everything written so far out of the version's folder, with the reason; returns the new
        URI."""
        lease = self._claimed()
        lease.check()
        target = self.store.root.child("quarantine", self.kind, self.name, f"{self.number}.{self.run_id}")
        why = {
            "format": format_name("quarantine", 1),
            "reason": reason,
            "ref": self.ref,
            "run_key": self.run_key,
        }
        target.write_json("_reason.json", why)
        own = ("_claim.", "_heartbeat.")
        paths = [entry.path for entry in self.folder.list() if not entry.path.startswith(own)]
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(lambda path: self.folder.move(path, target, path), paths):
                pass
        return target.uri

    def _claimed(self) -> publish.Lease:
        assert self._lease is not None, f"{self.ref} is finished already; nothing can be written to it"
        return self._lease

    def _check_files(self, manifest: Manifest) -> None:
        there = {entry.path: entry.bytes for entry in self.folder.list()}
        for entry in manifest.files:
            if there.get(entry.path) != entry.bytes:
                found = f"has {there[entry.path]} bytes" if entry.path in there else "is not there"
                raise StorageError(
                    f"{self.folder.uri_of(entry.path)}: {found}, its manifest says {entry.bytes} bytes; not"
                    " committed"
                )


def check_name(name: str, *, field: str) -> str:
    """The name, unchanged; RecipeError if it can't name something in a store."""
    if not _NAME.fullmatch(name):
        fix = "use lower-case letters, digits, '.', '_' and '-', starting with a letter or digit"
        raise RecipeError(f"{name!r} is not a name; {fix}", field=field)
    return name


def parse_ref(ref: str, *, field: str) -> tuple[str, int | None]:
    """("adult", 3) from "adult@3", ("adult", None) from "adult"; RecipeError otherwise."""
    match = _REF.fullmatch(ref)
    if match is None or match["number"] == "0":
        raise RecipeError(
            f"{ref!r} is not a reference; write NAME or NAME@NUMBER, such as adult@3", field=field
        )
    return check_name(match["name"], field=field), int(match["number"]) if match["number"] else None
