"""Where progress goes: the loop logs plain records to one Reporter, which may be several.

A record is JSON data: `{"step", "epoch", "seconds", "<phase>/<term>": ...}` for losses, `{"step", "quality":
{...}}` for checks and `{"message": "..."}` for a line to a person. Checks of images also log `{"step",
"preview": bytes}`, a PNG, the only thing that is not JSON.
"""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from synthmill.config import ImageConfig
from synthmill.data.image_file import read_image

Record = Mapping[str, Any]


class Reporter(Protocol):
    """Takes records; must not change them."""

    def log(self, record: Record) -> None:
        """Take one record."""


class Silent:
    """Drops everything."""

    def log(self, record: Record) -> None:
        return


class Fanout:
    """Passes every record to several reporters."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def log(self, record: Record) -> None:
        for reporter in self._reporters:
            reporter.log(record)


class Console:
    """One line a record: messages and checks always, losses at most every `every_seconds`."""

    def __init__(self, stream: IO[str] | None = None, every_seconds: float = 5.0) -> None:
        self._stream = stream if stream is not None else sys.stdout
        self._every_seconds = every_seconds
        self._last = float("-inf")

    def log(self, record: Record) -> None:
        now = time.monotonic()
        if "preview" in record:
            return
        if "message" in record:
            line = str(record["message"])
        elif "quality" in record:
            line = f"step {record['step']}: " + _pairs(record["quality"])
        elif now - self._last >= self._every_seconds:
            self._last = now
            line = f"step {record.get('step')}: " + _pairs(
                {key: value for key, value in record.items() if key != "step"}
            )
        else:
            return
        self._stream.write(line + "\n")
        self._stream.flush()


class Jsonl:
    """Appends every record to a local file, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def log(self, record: Record) -> None:
        if "preview" in record:
            return
        with self._path.open("a") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")


class TensorBoard:
    """Writes the numbers of every record as TensorBoard scalars, and sheets as images, into a local folder.

    Not by tensorboardX's SummaryWriter: its thread holds events back, and its flush does not wait for them.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"))

    def log(self, record: Record) -> None:
        from tensorboardX.summary import image, scalar

        step = record.get("step")
        if step is None:
            return
        if "preview" in record:
            pixels = read_image(record["preview"], ImageConfig())
            self._write(step, image("samples", pixels, dataformats="HW" if pixels.ndim == 2 else "HWC"))
        for key, value in record.items():
            numbers = (
                {f"{key}/{inner}": number for inner, number in value.items()}
                if isinstance(value, Mapping)
                else {key: value}
            )
            for name, number in numbers.items():
                if name != "step" and isinstance(number, int | float):
                    self._write(step, scalar(name, number))

    def _write(self, step: int, summary: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=summary))

    def flush(self) -> None:
        """Put everything logged so far into the file."""
        self._writer.flush()

    def close(self) -> None:
        """Put everything into the file and end it."""
        self._writer.close()


def _pairs(values: Mapping[str, Any]) -> str:
    return " ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in values.items()
    )
