"""Numbered versions that one job at a time may write: claims, heartbeats, take-over, commit.

A version's folder holds `_claim.<k>.json` (created if absent; the highest k owns), `_heartbeat.<k>.json`
(renewed by the owner of claim k) and, once committed, `_manifest.json` (created if absent). A folder without
a manifest is no version. Ages are measured by the store's own clock, so that a machine with a wrong clock
neither steals nor loses a claim.
"""

import logging
import re
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from synthmill.errors import ClaimLostError, MissingError, StorageError
from synthmill.storage import owner
from synthmill.storage.folder import THREADS, Folder, json_bytes
from synthmill.storage.formats import check_format, format_name

MANIFEST = "_manifest.json"
TOMBSTONE = "_tombstone.json"
FAREWELL_SECONDS = 5.0
"""A heartbeat that hangs on a store which does not answer must not hold up the end of the job."""
_CLAIM = re.compile(r"^_claim\.([0-9]+)\.json$")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """How often an owner shows that it lives, and after how long a silence it is taken for dead."""

    heartbeat_seconds: float = 10.0
    stale_seconds: float = 60.0


@dataclass(frozen=True)
class State:
    """What one listing says of a version's folder."""

    number: int
    committed: bool
    deleted: bool
    claim: int
    """The highest claim; 0: none."""


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
        """ClaimLostError if a higher claim exists, or ours is gone."""
        state = state_of(self.folder, self.number)
        if (
            self.lost
            or state.claim != self.claim
            or _read(self.folder, self.claim).get("token") != self._token
        ):
            self.lost = True
            raise ClaimLostError(
                f"{self.folder.uri}: another job took this version over while this one was not heard of"
            )

    def commit(self, manifest: dict[str, Any]) -> bool:
        """Create the manifest, whose `run_id` must be ours; False: somebody else committed first.

        Raises:
            ClaimLostError: the version was taken over before.
        """
        self.check()
        self.committed = self.folder.create(MANIFEST, json_bytes(manifest)) or (
            self.folder.read_json(MANIFEST).get("run_id") == manifest["run_id"]
        )
        return self.committed

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Renew the heartbeat until the end; then say that the owner is gone, so that a rerun need not
        wait."""
        stop = threading.Event()
        self.beat()
        thread = threading.Thread(
            target=self._renew, args=(stop,), name=f"heartbeat {self.folder.name}", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(FAREWELL_SECONDS)
            if not (self.lost or self.committed or thread.is_alive()):
                self._say_goodbye()

    def beat(self, *, released: bool = False) -> None:
        """Write the heartbeat once."""
        self._beats += 1
        self.folder.write_json(
            _heartbeat(self.claim),
            {
                "format": format_name("heartbeat", 1),
                "token": self._token,
                "beat": self._beats,
                "released": released,
            },
        )

    def _say_goodbye(self) -> None:
        try:
            self.beat(released=True)
        except StorageError as fault:
            _log.warning("heartbeat: %s", fault)

    def _renew(self, stop: threading.Event) -> None:
        while not (stop.wait(self._timing.heartbeat_seconds) or self.committed):
            try:
                self.check()
                self.beat()
            except ClaimLostError as fault:
                _log.warning("%s", fault)
                return
            except StorageError as fault:
                _log.warning("heartbeat: %s", fault)


def states(parent: Folder) -> list[State]:
    """The state of every number below `parent`, ascending."""
    numbers = sorted(int(name) for name in parent.children() if name.isdigit() and name == str(int(name)))
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda number: state_of(parent.child(str(number)), number), numbers))


def state_of(folder: Folder, number: int) -> State:
    """The state of one version's folder, from one listing."""
    names = {entry.path for entry in folder.list("_", recursive=False)}
    claims = [int(match.group(1)) for match in map(_CLAIM.match, names) if match]
    return State(number, MANIFEST in names, TOMBSTONE in names, max(claims, default=0))


def finished(parent: Folder, run_key: str, found: list[State]) -> int | None:
    """The newest committed version with this run key."""
    for state in reversed(found):
        if (
            state.committed
            and not state.deleted
            and parent.child(str(state.number)).read_json(MANIFEST).get("run_key") == run_key
        ):
            return state.number
    return None


def acquire(
    parent: Folder, found: list[State], *, run_key: str, run_id: str, timing: Timing = DEFAULT_TIMING
) -> Lease:
    """Own a version: an unfinished one of the same run key whose owner is dead, or else the next free
    number."""
    for state in reversed(found):
        if not state.committed and not state.deleted and state.claim:
            lease = _take_over(parent.child(str(state.number)), state, run_key, run_id, timing)
            if lease is not None:
                return lease
    number = max((state.number for state in found), default=0) + 1
    while True:
        lease = _claim(parent.child(str(number)), number, 1, run_key, run_id, timing)
        if lease is not None:
            return lease
        number += 1


def owned(folder: Folder, state: State, timing: Timing = DEFAULT_TIMING) -> bool:
    """Whether somebody who lives is writing this version."""
    try:
        return state.claim > 0 and not state.committed and not _dead(folder, state.claim, timing)
    except MissingError:
        return False  # Collected as garbage since it was listed.


def seize(folder: Folder, number: int, *, run_id: str, timing: Timing = DEFAULT_TIMING) -> Lease | None:
    """Own an unfinished version whatever its run key, to remove it; None while its owner lives or when it is
    committed."""
    state = state_of(folder, number)
    if state.committed or owned(folder, state, timing):
        return None
    return _claim(folder, number, state.claim + 1, "removal", run_id, timing)


def _take_over(folder: Folder, state: State, run_key: str, run_id: str, timing: Timing) -> Lease | None:
    try:
        if _read(folder, state.claim).get("run_key") != run_key or not _dead(folder, state.claim, timing):
            return None
    except MissingError:
        return None  # Collected as garbage since it was listed.
    return _claim(folder, state.number, state.claim + 1, run_key, run_id, timing)


def _claim(
    folder: Folder, number: int, claim: int, run_key: str, run_id: str, timing: Timing
) -> Lease | None:
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
    """Whether the owner said goodbye, is a process of this machine that has ended, or has been silent for too
    long."""
    if owner.has_ended(_read(folder, claim).get("process")):
        return True
    age = folder.age_seconds(_heartbeat(claim))
    if age is None:
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
