"""Progress for people: one bar that moves on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

LINE_SECONDS = 10.0


def say(text: str) -> None:
    """One line to standard output, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Progress:
    """`with Progress("training", total) as bar: bar.update(done, "step 10, score 0.9")`."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total = title, total
        self._rich: RichProgress | None = None
        self._said_at = 0.0
        self._last = ""

    def __enter__(self) -> "Progress":
        if sys.stdout.isatty():
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._rich = RichProgress(*columns, console=Console())
            self._task = self._rich.add_task(self.title, total=self.total, note="")
            self._rich.start()
        return self

    def update(self, done: int, note: str = "") -> None:
        """`done` of `total`; `note` is what a person wants to see beside it."""
        if self._rich is not None:
            self._rich.update(self._task, completed=done, note=note)
            return
        now, line = time.monotonic(), f"{self.title}: {done:,}/{self.total:,}" + (f"  {note}" if note else "")
        if line != self._last and (done >= self.total or now - self._said_at >= LINE_SECONDS):
            self._said_at, self._last = now, line
            say(line)

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self._rich is not None:
            self._rich.console.print(text, markup=False, highlight=False)
        else:
            say(text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rich is not None:
            self._rich.stop()
