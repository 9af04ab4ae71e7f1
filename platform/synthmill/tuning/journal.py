"""The journal of a search in a store: one JSON object an event, created once and never changed.

    tunes/<name>-<key>/<n>/events/00000012.json    {"event": "score", "number": 3, "share": 1.0, ...}

Object stores can't append, and a file that many appends make can be cut in the middle of a line: an event is
a file of its own, whole or not there. The search is what its events say, so that a process that dies loses
the work it had not written down, and nothing else.
"""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from synthmill.errors import ClaimLostError, IntegrityError
from synthmill.storage.folder import THREADS, Folder
from synthmill.tuning.record import Record

FORMAT = "synthmill.tune/1"
EVENTS = "events"


class Journal:
    """Events of one search; its only writer is the driver that owns the folder."""

    def __init__(self, folder: Folder, clock: Callable[[], float]) -> None:
        """`clock`: seconds since this process began to search."""
        self._folder = folder.child(EVENTS)
        events = read_events(folder)
        self._next = len(events)
        self.record = replay(events)
        self._clock, self._before = clock, self.record.seconds

    @property
    def seconds(self) -> float:
        """Of the search, all of its processes together."""
        return self._before + self._clock()

    def append(self, event: str, **fields: Any) -> None:
        """Write an event, and take it in.

        Raises:
            ClaimLostError: another process writes this journal.
        """
        content = {"event": event, "seconds": round(self.seconds, 3), **fields}
        if self._next == 0:
            content["format"] = FORMAT
        data = json.dumps(content, sort_keys=True, allow_nan=False).encode()
        name = _name(self._next)
        # A refused create with our own bytes inside follows a lost answer.
        if not self._folder.create(name, data) and self._folder.read_bytes(name) != data:
            raise ClaimLostError(f"{self._folder.uri_of(name)}: another process writes this journal")
        self._next += 1
        self.record.apply(content)


def read_events(folder: Folder) -> list[Mapping[str, Any]]:
    """The events of a search's folder, in order.

    Raises:
        IntegrityError: an event is missing between others, or the format is unknown.
    """
    inner = folder.child(EVENTS)
    names = [entry.path for entry in inner.list()]
    if names != [_name(index) for index in range(len(names))]:
        raise IntegrityError(f"{inner.uri}: events are missing from the journal")
    with ThreadPoolExecutor(THREADS) as pool:
        events = list(pool.map(inner.read_json, names))
    if events and events[0].get("format") != FORMAT:
        raise IntegrityError(
            f"{inner.uri} has format {events[0].get('format')!r}; this version reads {FORMAT!r}"
        )
    return events


def replay(events: list[Mapping[str, Any]]) -> Record:
    """The search that events describe."""
    record = Record()
    for event in events:
        record.apply(event)
    return record


def _name(index: int) -> str:
    return f"{index:08d}.json"
