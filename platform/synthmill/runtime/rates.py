"""How fast a long job goes, whose work that is, and how long it will take."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from synthmill.runtime.progress import Progress, say

if TYPE_CHECKING:
    from synthmill.data.scan.raw import Raw
    from synthmill.runtime.writers import Done

MOST_LINES = 16
"""Workers that the summary names; of more, the slowest."""


class GeneratingProgress:
    """Of parts that workers write: rows, rows/s, time left, and each worker's pace."""

    def __init__(self, total_rows: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._clock = total_rows, clock
        self._started = clock()
        self._before: int | None = None
        self._done: Mapping[int, Done] = {}

    def update(self, bar: Progress, done: Mapping[int, "Done"]) -> None:
        """Show the parts that are done; those of the first call are an earlier attempt's."""
        rows = sum(part.rows for part in done.values())
        if self._before is None:
            self._before = rows
        self._done = done
        seconds = self._clock() - self._started
        note = f"{rows:,} rows"
        if rows > self._before and seconds > 0:
            rate = (rows - self._before) / seconds
            note += f", {rate:,.0f} rows/s, {clock_time((self._total - rows) / rate)} left"
        if len(paces := self._paces()) > 1:
            rates = sorted(rate for _, rate, _, _ in paces)
            note += f", {len(paces)} workers of {rates[0]:,.0f} to {rates[-1]:,.0f} rows/s"
        bar.update(len(done), note)

    def summary(self) -> list[str]:
        """A line for each worker, the slowest first; none where one did everything."""
        paces = sorted(self._paces(), key=lambda pace: pace[1])
        if len(paces) < 2:
            return []
        lines = [
            f"worker {name}: {parts} part{'s' * (parts > 1)}, {rows:,} rows, {rate:,.0f} rows/s"
            for name, rate, parts, rows in paces[:MOST_LINES]
        ]
        return lines + ([f"and {len(paces) - MOST_LINES} faster workers"] if len(paces) > MOST_LINES else [])

    def say_summary(self) -> None:
        """The summary, to standard output."""
        for line in self.summary():
            say(line)

    def _paces(self) -> list[tuple[str, float, int, int]]:
        """(worker, rows/s while it wrote, parts, rows)."""
        by_worker: dict[str, list[Done]] = {}
        for part in self._done.values():
            if part.worker:
                by_worker.setdefault(part.worker, []).append(part)
        paces = []
        for name, parts in sorted(by_worker.items()):
            rows, seconds = sum(part.rows for part in parts), sum(part.seconds for part in parts)
            paces.append((name, rows / max(seconds, 1e-9), len(parts), rows))
        return paces


class ScanPace:
    """Of a pass over a source: rows, rows/s and time left, by what is known of how much there is."""

    def __init__(self, bar: Progress, raw: "Raw", clock: Callable[[], float] = time.monotonic) -> None:
        self._bar, self._raw, self._clock = bar, raw, clock
        self._before, self._started = raw.read_bytes, clock()

    def update(self, rows: int, tasks: int = 0) -> None:
        """So many rows were gone over."""
        total, done = self._raw.num_rows, rows
        if total is None:
            # Of text only the bytes are known.
            total = self._raw.num_bytes
            done = min(total, self._raw.read_bytes - self._before)
        seconds = self._clock() - self._started
        note = f"{rows:,} rows"
        if rows and done and seconds > 0:
            note += f", {rows / seconds:,.0f} rows/s, {clock_time((total - done) * seconds / done)} left"
        note += f", {tasks} task{'s' * (tasks > 1)}" if tasks else ""
        self._bar.update(done, note)


class StepPace:
    """Of training steps: time left, from what the run's records say."""

    def __init__(self, total_steps: int) -> None:
        self._total = total_steps
        self._first: tuple[int, float] | None = None
        self._last_step = 0

    def left(self, step: int, seconds: float) -> str | None:
        """Time that is left at this step, after so many seconds of training; None until there are two."""
        if self._first is None or step < self._last_step:
            # A worker was lost: what it took for its steps says nothing of the one that repeats some.
            self._first = (step, seconds)
        self._last_step = step
        first_step, first_seconds = self._first
        if step <= first_step or seconds <= first_seconds:
            return None
        each = (seconds - first_seconds) / (step - first_step)
        return clock_time(max(0, self._total - step) * each)


def workers_text(step_seconds: list[float]) -> str:
    """What the workers of a run take for a step of their own, and which is the slowest."""
    slowest = max(range(len(step_seconds)), key=step_seconds.__getitem__)
    low, high = min(step_seconds), max(step_seconds)
    text = f"{len(step_seconds)} workers {1000 * low:.3g} to {1000 * high:.3g} ms a step"
    return text + (f" (slowest: {slowest})" if high > 1.2 * low else "")


def clock_time(seconds: float) -> str:
    """1:02:03 for 3,723 seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
