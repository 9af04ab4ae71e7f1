"""Numbered versions, each written by one job at a time: claims, heartbeats, take-over, commit.

A version's folder holds `_claim.<k>.json` (created if absent; the highest k owns), `_heartbeat.<k>.json`
(renewed by the owner of claim k) and, once committed, `_manifest.json` (created if absent). A folder without
a manifest is no version. Ages are measured by the store's own clock, so that a machine with a wrong clock
neither steals nor loses a claim.
"""

import logging
import re
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from synthmill.errors import ClaimLostError, MissingError, StorageError
from synthmill.storage import owner
from synthmill.storage.folder import Folder, json_bytes
from synthmill.storage.formats import check_format, format_name

MANIFEST = "_manifest.json"
TOMBSTONE = "_tombstone.json"
RELEASE_SECONDS = 5.0
"""How long a job's end waits for its heartbeat: a store that does not answer must not delay it further."""
_NUMBER = re.compile(r"^[1-9][0-9]*$", re.ASCII)
_CLAIM = re.compile(r"^_claim\.([0-9]+)\.json$")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """How often an owner renews its heartbeat, and the age at which a heartbeat is stale."""

    heartbeat_seconds: float = 10.0
    # Six heartbeats: one or two slow requests must not cost a live owner its claim.
    stale_seconds: float = 60.0


@dataclass(frozen=True)
class State:
    """A version's folder as one listing shows it."""

    number: int
    committed: bool
    deleted: bool
    claim: int
    """The highest claim; 0: none."""

    @property
    def readable(self) -> bool:
        """Whether readers may have it. A tombstone means deleted, even beside a manifest."""
        return self.committed and not self.deleted


DEFAULT_TIMING = Timing()


class Lease:
    """Ownership of one version's folder. Inside `with lease.alive():` a thread renews the heartbeat."""

    def __init__(self, folder: Folder, number: int, claim: int, token: str, timing: Timing) -> None:
        self.folder = folder
        self.number = number
        self.claim = claim
        self.lost = False
        self.committed = False
        self._token = token
        self._timing = timing
        self._beats = 0

    def check(self) -> None:
        """ClaimLostError if a higher claim exists, or ours is no longer there."""
        # The token too: if the folder was removed and its number claimed anew, claim 1 is another job's.
        current = state_of(self.folder, self.number).claim == self.claim
        if not current or _read(self.folder, self.claim).get("token") != self._token:
            self.lost = True
        self.check_alive()

    def check_alive(self) -> None:
        """ClaimLostError if the heartbeat noticed that another job owns the version; makes no request."""
        if self.lost:
            raise ClaimLostError(
                f"{self.folder.uri}: another job took this version over after this job's heartbeat went stale"
            )

    def commit(self, manifest: dict[str, Any]) -> bool:
        """Create the manifest, whose `run_id` must be ours; False: another job committed first.

        Raises:
            ClaimLostError: the version was taken over before.
        """
        self.check()
        # A refused create with our run id inside means that a retry followed our own lost answer.
        self.committed = self.folder.create(MANIFEST, json_bytes(manifest)) or (
            self.folder.read_json(MANIFEST).get("run_id") == manifest["run_id"]
        )
        return self.committed

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Renew the heartbeat until the end; then release the claim, so that a rerun need not wait."""
        stop = threading.Event()

        def renew() -> None:
            while not (stop.wait(self._timing.heartbeat_seconds) or self.committed):
                try:
                    self.check()
                    self.beat()
                except ClaimLostError as fault:
                    _log.warning("%s", fault)
                    return
                except StorageError as fault:
                    # The next beat may succeed; until the heartbeat is stale nothing is lost.
                    _log.warning("heartbeat: %s", fault)

        self.beat()
        thread = threading.Thread(target=renew, name=f"heartbeat {self.folder.name}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(RELEASE_SECONDS)
            # A thread that still waits for the store would overwrite our release, which would wait as well.
            if not (self.lost or self.committed or thread.is_alive()):
                try:
                    self.beat(released=True)
                except StorageError as fault:
                    _log.warning("heartbeat: %s", fault)

    def beat(self, *, released: bool = False) -> None:
        """Write the heartbeat once."""
        self._beats += 1
        content = {
            "format": format_name("heartbeat", 1),
            "token": self._token,
            "beat": self._beats,
            "released": released,
        }
        self.folder.write_json(_heartbeat(self.claim), content)


def numbers(parent: Folder) -> list[int]:
    """The numbers below `parent`, committed or not, ascending; other folders there are not ours."""
    return sorted(int(name) for name in parent.children() if _NUMBER.match(name))


def states(parent: Folder) -> list[State]:
    """The state of every number below `parent`, ascending."""
    # Folders without a file of ours as well: their numbers are not free, and gc removes them.
    bare = [State(number, False, False, 0) for number in numbers(parent)]
    found = _states_of(path.split("/") for path in parent.markers(1))
    return sorted({state.number: state for state in [*bare, *found]}.values(), key=lambda state: state.number)


def all_states(kind: Folder) -> dict[str, list[State]]:
    """The states of all names below `kind`, by name, from one listing."""
    by_name: dict[str, list[list[str]]] = {}
    for path in kind.markers(2):
        name, *rest = path.split("/")
        by_name.setdefault(name, []).append(rest)
    return {name: _states_of(paths) for name, paths in by_name.items()}


def state_of(folder: Folder, number: int) -> State:
    """The state of one version's folder, from one listing."""
    return _state(number, {entry.path for entry in folder.list("_", recursive=False)})


def _states_of(paths: Iterable[list[str]]) -> list[State]:
    """States from pairs of number and file; other folders than numbers are not ours."""
    files: dict[int, set[str]] = {}
    for number, name in paths:
        if _NUMBER.match(number):
            files.setdefault(int(number), set()).add(name)
    return [_state(number, files[number]) for number in sorted(files)]


def _state(number: int, names: set[str]) -> State:
    claims = [int(match.group(1)) for match in map(_CLAIM.match, names) if match]
    return State(number, MANIFEST in names, TOMBSTONE in names, max(claims, default=0))


def finished(parent: Folder, run_key: str, existing: list[State]) -> int | None:
    """The newest committed version with this run key."""
    for state in reversed(existing):
        if state.readable:
            manifest = parent.child(str(state.number)).read_json(MANIFEST)
            if manifest.get("run_key") == run_key:
                return state.number
    return None


def acquire(
    parent: Folder, existing: list[State], *, run_key: str, run_id: str, timing: Timing = DEFAULT_TIMING
) -> Lease:
    """Own a version: an unfinished one of the same run key whose owner is dead, else the next free number."""
    for state in reversed(existing):
        if state.committed or state.deleted or not state.claim:
            continue
        folder = parent.child(str(state.number))
        try:
            # The same key means the same bytes: what the dead owner wrote is a part of our own result.
            same = _read(folder, state.claim).get("run_key") == run_key
            if not same or not _dead(folder, state.claim, timing):
                continue
        except MissingError:
            continue  # Removed by `gc` since it was listed.
        lease = _claim(folder, state.number, state.claim + 1, run_key, run_id, timing)
        if lease is not None:
            return lease
    number = max((state.number for state in existing), default=0) + 1
    # Concurrent jobs race for the number; each loser takes the next one.
    while (lease := _claim(parent.child(str(number)), number, 1, run_key, run_id, timing)) is None:
        number += 1
    return lease


def owned(folder: Folder, state: State, timing: Timing = DEFAULT_TIMING) -> bool:
    """Whether a live owner is writing this version."""
    try:
        return state.claim > 0 and not state.committed and not _dead(folder, state.claim, timing)
    except MissingError:
        return False  # Removed by `gc` since it was listed.


def seize(folder: Folder, number: int, *, run_id: str, timing: Timing = DEFAULT_TIMING) -> Lease | None:
    """Own an unfinished version, whatever its run key, to remove it; None: committed, or owned."""
    state = state_of(folder, number)
    if state.committed or owned(folder, state, timing):
        return None
    return _claim(folder, number, state.claim + 1, "removal", run_id, timing)


def _claim(
    folder: Folder, number: int, claim: int, run_key: str, run_id: str, timing: Timing
) -> Lease | None:
    """Create this claim; None: another job did first."""
    token = uuid.uuid4().hex
    content = {
        "format": format_name("claim", 1),
        "run_id": run_id,
        "run_key": run_key,
        "token": token,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "process": owner.this_process(),
    }
    if not folder.create(_claim_path(claim), json_bytes(content)):
        return None
    return Lease(folder, number, claim, token, timing)


def _dead(folder: Folder, claim: int, timing: Timing) -> bool:
    """Whether the claim was released, its process on this machine has ended, or its heartbeat is stale."""
    if owner.has_ended(_read(folder, claim).get("process")):
        return True
    age = folder.age_seconds(_heartbeat(claim))
    if age is None:
        # The owner died, or has yet to beat for the first time: then the claim's own age counts.
        age = folder.age_seconds(_claim_path(claim))
        return age is not None and age > timing.stale_seconds
    return age > timing.stale_seconds or bool(folder.read_json(_heartbeat(claim)).get("released"))


def _read(folder: Folder, claim: int) -> dict[str, Any]:
    path = _claim_path(claim)
    content: dict[str, Any] = folder.read_json(path)
    check_format(content, "claim", newest=1, uri=folder.uri_of(path))
    return content


def _claim_path(claim: int) -> str:
    return f"_claim.{claim}.json"


def _heartbeat(claim: int) -> str:
    return f"_heartbeat.{claim}.json"
