"""How long a person waits: `--help`, the first step of `train` and `augment`, and `serve` until it is ready.

Each command runs as a user runs it, on an otherwise idle machine, and is read line by line. CPU seconds are
those of the command and of all that it starts, taken from /proc while it runs: Ray's node process reaps its
children without adding up their times, so `getrusage` sees half of them.

    .venv/bin/python benchmarks/startup.py [--repeats 3] [--only train augment]
"""

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_SECONDS = 0.1
TICKS = os.sysconf("SC_CLK_TCK")
TRAIN = ("train", "demo", "--set", "training.max_epochs=1")
AUGMENT = ("augment", "--model", "breast-cancer", "--rows", "1000", "--dataset", "startup")
SERVE = ("serve", "--models", "breast-cancer", "--insecure-local", "--port", "8642")


@dataclass(frozen=True)
class Start:
    """One command, and the beginning of the line that says that it has started."""

    name: str
    command: tuple[str, ...]
    mark: str
    stop: bool = False
    """Interrupt it then; else it runs to its end."""


STARTS = (
    Start("--help", ("--help",), "Usage"),
    Start("train: first step", TRAIN, "training:"),
    Start("augment: first step", AUGMENT, "generating:"),
    Start("serve: ready", SERVE, "serving ", stop=True),
)


class CpuWatch(threading.Thread):
    """Adds up what a process and its descendants have used, those that ended included."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self._root = root
        self._used: dict[int, float] = {}
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._sample()

    def seconds(self) -> float:
        """Up to now."""
        self._sample()
        return sum(list(self._used.values()))

    def end(self) -> None:
        """Stop sampling."""
        self._ended.set()
        self.join()

    def _sample(self) -> None:
        parents, used = {}, {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    # The name before the last bracket may hold spaces.
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    parents[int(entry.name)] = int(fields[1])
                    used[int(entry.name)] = (int(fields[11]) + int(fields[12])) / TICKS
        for process in used:
            # A descendant whose parent has ended is known from an earlier sample.
            if self._descends(process, parents) or process in self._used:
                self._used[process] = used[process]

    def _descends(self, process: int, parents: dict[int, int]) -> bool:
        while process in parents and process != self._root:
            process = parents[process]
        return process == self._root


def measure(start: Start, store: str) -> tuple[float, float]:
    """(seconds, CPU seconds) from the command to its mark."""
    arguments = [*start.command, *(("--store", store) if start.name != "--help" else ())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform"), "PYTHONUNBUFFERED": "1"}
    began = time.monotonic()
    command = [sys.executable, "-m", "synthmill.cli", *arguments]
    process = subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    watch = CpuWatch(process.pid)
    watch.start()
    assert process.stdout is not None
    lines: list[str] = []
    marked: tuple[float, float] | None = None
    for line in process.stdout:
        lines.append(line)
        if marked is None and line.strip().startswith(start.mark):
            marked = time.monotonic() - began, watch.seconds()
            if start.stop:
                process.send_signal(signal.SIGINT)
    process.wait()
    watch.end()
    if marked is None:
        sys.exit(f"{' '.join(command)} never said {start.mark!r}:\n{''.join(lines)}")
    return marked


def table(rows: list[tuple[str, list[tuple[float, float]]]]) -> str:
    """Medians, in Markdown."""
    lines = ["| start | seconds | CPU seconds |", "| --- | --- | --- |"]
    for name, measured in rows:
        seconds, cpu = (statistics.median(figures) for figures in zip(*measured, strict=True))
        lines.append(f"| {name} | {seconds:.2f} | {cpu:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="beginnings of the names")
    options = parser.parse_args()
    wanted = [start for start in STARTS if not options.only or start.name.startswith(tuple(options.only))]
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as store:
        # Everything is read from disk once before anything is timed, and the model is there.
        measure(STARTS[1], store)
        rows = [(start.name, [measure(start, store) for _ in range(options.repeats)]) for start in wanted]
    sys.stdout.write(f"{os.cpu_count()} CPUs, load {busy:.1f} before\n{table(rows)}\n")


if __name__ == "__main__":
    main()
