"""Finding and ending the processes that a test started, and no others."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent
T = TypeVar("T")


def until(probe: Callable[[], T | None], *, seconds: float = 120.0, what: str = "the event") -> T:
    """The first truthy value of `probe`, asked every 50 ms; fails when it does not come."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = probe()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come within {seconds:g} s")


def descendants(pid: int) -> list[int]:
    """All living processes below `pid`."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def titled(pid: int, title: str) -> list[int]:
    """Descendants of `pid` whose command line contains `title` (Ray names its workers after their actors)."""

    def command(process: int) -> str:
        try:
            return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""

    return sorted(process for process in descendants(pid) if title in command(process))


def kill(pid: int) -> None:
    """SIGKILL: no handler runs."""
    os.kill(pid, signal.SIGKILL)


def kill_tree(process: "subprocess.Popen[str]") -> None:
    """SIGKILL a process we started and everything below it. All of it is stopped first, so that nothing
    starts another meanwhile."""
    doomed: set[int] = set()
    while found := {process.pid, *descendants(process.pid)} - doomed:
        _send(signal.SIGSTOP, found)
        doomed |= found
    _send(signal.SIGKILL, doomed)
    process.wait()


def _send(number: signal.Signals, pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def start_job(
    verb: str,
    *arguments: str,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    own_group: bool = False,
) -> "subprocess.Popen[str]":
    """`python jobs/<verb>.py ...` as a user would start it; with `own_group` as from a terminal, whose Ctrl-C
    all processes of the group get."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "jobs" / f"{verb}.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        cwd=cwd or ROOT,
        start_new_session=own_group,
    )


def on_terminal(script: str, columns: int = 100) -> str:
    """What a terminal gets of a Python script, control sequences included; fails unless it ends well."""
    ours, theirs = pty.openpty()
    path = f"{ROOT / 'platform'}:{ROOT / 'tests'}"
    env = {**os.environ, "PYTHONPATH": path, "TERM": "xterm-256color", "COLUMNS": str(columns)}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=theirs, stderr=subprocess.PIPE, env=env
    ) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                seen += (chunk := os.read(ours, 65536))
            except OSError:  # How Linux says that the other end has closed.
                break
            if not chunk:
                break
        assert process.stderr is not None
        errors = process.stderr.read().decode()
        assert process.wait() == 0, errors
    os.close(ours)
    return seen.decode()
