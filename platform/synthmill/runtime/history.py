"""How a run's records travel from the worker that makes them to the person who waits: through the run's folder.

Ray keeps metrics only with checkpoints, and its report() blocks the loop; a file in the run's folder does neither.
"""

import json
import time
from threading import Event
from typing import Any

from synthmill.errors import StorageError
from synthmill.runtime.progress import Progress
from synthmill.storage.folder import Folder

LIVE = "live.jsonl"
LOCAL_SECONDS = 1.0
REMOTE_SECONDS = 5.0


class FolderReporter:
    """A training reporter that keeps the latest records readable for the driver, at most once a second or five."""

    def __init__(self, folder: Folder) -> None:
        self._folder, self._wait = folder, _interval(folder)
        self._last, self._written = "", 0.0

    def log(self, record: dict[str, Any]) -> None:
        """Keep `record`; write it when the last write is long enough ago."""
        self._last = json.dumps(record)
        if time.monotonic() - self._written >= self._wait:
            self._flush()

    def close(self) -> None:
        self._flush()

    def _flush(self) -> None:
        self._folder.write_bytes(LIVE, self._last.encode())
        self._written = time.monotonic()


def follow(folder: Folder, bar: Progress, done: Event) -> None:
    """Show the run's newest record on `bar` until `done` is set."""
    while not done.wait(_interval(folder)):
        try:
            record = json.loads(folder.read_bytes(LIVE))
        except (StorageError, ValueError):
            continue
        notes = [f"{key} {value:.4g}" for key, value in record.items() if key in ("loss", "score", "seconds") and isinstance(value, float)]
        bar.update(int(record.get("step", 0)), ", ".join(notes), total=record.get("total_steps"))


def _interval(folder: Folder) -> float:
    return LOCAL_SECONDS if folder.uri.startswith("file://") else REMOTE_SECONDS
