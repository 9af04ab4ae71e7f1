"""How a run's records travel from the worker that makes them to the person who waits: through the run's
folder.

Ray stores metrics only with checkpoints, and its report() blocks the loop until the controller's next poll; a
file in the run's folder does neither.
"""

import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

from synthmill.errors import StorageError
from synthmill.runtime.progress import Progress
from synthmill.runtime.rates import StepPace, workers_text
from synthmill.storage.folder import Folder
from synthmill.training.reporter import TensorBoard

LIVE = "live.json"
SHOWN = {
    "epoch": "epoch",
    "quality/score": "score",
    "seconds": "seconds",
    "rows_per_second": "rows/s",
}
LOCAL_SECONDS = 1.0
REMOTE_SECONDS = 5.0


class TensorBoardFolder:
    """TensorBoard events of a run, in `tensorboard/` of its folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder, self._wait = folder.child("tensorboard"), 10 * _interval(folder)
        # The writer appends, which object stores can't: it has a local file, copied whole now and then.
        self._scratch = tempfile.TemporaryDirectory(prefix="synthmill-")
        self._writer = TensorBoard(Path(self._scratch.name))
        self._written = time.monotonic()

    def log(self, record: Mapping[str, Any]) -> None:
        """Add the record's numbers; copy the events out when the last copy is long enough ago."""
        self._writer.log(record)
        if time.monotonic() - self._written >= self._wait:
            self.close()

    def close(self) -> None:
        """Copy the events to the run's folder."""
        self._writer.flush()
        for events in sorted(Path(self._scratch.name).iterdir()):
            self._folder.upload(events, events.name)
        self._written = time.monotonic()


class PreviewFolder:
    """Images that the checks sampled, as `samples/step-0000001200.png` of a run's folder; the newest as
    `samples/latest.png` too."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder.child("samples")

    def log(self, record: Mapping[str, Any]) -> None:
        if "preview" in record:
            for name in (f"step-{record['step']:010d}.png", "latest.png"):
                self._folder.write_bytes(name, record["preview"])


class FolderReporter:
    """A training reporter that leaves the latest records where the driver reads them, at most once a second
    or five."""

    def __init__(self, folder: Folder) -> None:
        self._folder, self._wait = folder, _interval(folder)
        self._latest: dict[str, Any] = {}
        self._messages: list[str] = []
        self._writer = uuid.uuid4().hex
        self._written = 0.0

    def log(self, record: Mapping[str, Any]) -> None:
        """Merge `record` into the latest; write them when the last write is long enough ago."""
        if "preview" in record:
            return
        for key, value in record.items():
            nested = value if isinstance(value, Mapping) else None
            self._latest |= {key: value} if nested is None else {f"{key}/{k}": v for k, v in nested.items()}
        if "message" in record:
            self._messages.append(str(record["message"]))
        if time.monotonic() - self._written >= self._wait:
            self._flush()

    def close(self) -> None:
        self._flush()

    def _flush(self) -> None:
        self._folder.write_json(LIVE, {**self._latest, "messages": self._messages, "writer": self._writer})
        self._written = time.monotonic()


def follow(folder: Folder, bar: Progress, done: Event) -> None:
    """Show the run's newest record on `bar` until `done` is set, and the last one then."""
    shown, started = Shown(bar), None
    ended = False
    while not ended:
        ended = done.wait(_interval(folder) if started is not None else 0)
        try:
            if started is None:
                # By the folder's own clock; what is older is an earlier attempt's.
                started = folder.now()
            elif folder.entry(LIVE).modified >= started:
                shown.update(folder.read_json(LIVE))
        except StorageError:
            # Nothing written yet, or a store that is slow: progress is no reason to end a run.
            continue


class Shown:
    """What of a run's messages and figures has been shown."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._messages = 0
        self._pace = StepPace(bar.total)
        self._writer = ""

    def update(self, record: Mapping[str, Any]) -> None:
        """Show the messages that are new, and the figures."""
        if record.get("writer", "") != self._writer:
            # A worker that took the place of a lost one counts from none.
            self._messages, self._writer = 0, record.get("writer", "")
        for message in record["messages"][self._messages :]:
            self._bar.say(message)
        self._messages = len(record["messages"])
        notes = [
            f"{name} {record[key]:.4g}"
            for key, name in SHOWN.items()
            if isinstance(record.get(key), int | float)
        ]
        seconds = record.get("seconds")
        if "step" in record:
            step = int(record["step"])
            if isinstance(seconds, int | float) and (left := self._pace.left(step, seconds)):
                notes.append(f"{left} left")
            if record.get("worker_seconds"):
                notes.append(workers_text(record["worker_seconds"]))
            self._bar.update(step, ", ".join(notes))


def _interval(folder: Folder) -> float:
    return LOCAL_SECONDS if folder.uri.startswith("file://") else REMOTE_SECONDS
