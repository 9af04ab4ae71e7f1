"""Experiment trackers as reporters: MLflow and Weights & Biases, where SYNTHMILL_TRACKERS names them.

Off by default. What a tracker does wrong costs its records, never the run: each has a process of its own
(`tracker_process.py`), so that a server that does not answer keeps nobody waiting; the first fault is said,
and the tracker hears nothing more. MLflow needs a server or `sqlite:///FILE` in MLFLOW_TRACKING_URI (from
3.17 on it refuses its file store); W&B needs an account, or WANDB_MODE=offline.
Their packages may be in an environment of their own, as they want other versions of PyArrow and protobuf.
"""

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from synthmill.training import tracker_process
from synthmill.training.reporter import Record
from synthmill.training.tracker_process import FINISHED, KNOWN

VARIABLE = "SYNTHMILL_TRACKERS"
PYTHON = "SYNTHMILL_TRACKER_PYTHON"
"""The interpreter of an environment that has the trackers' packages; by default this one."""
LAST_SECONDS = 10.0
"""How long the end of a run waits for what trackers still have to send."""
MOST_SECONDS = 30.0
"""How long a tracker may take over one request before it counts as dead; the first imports its package."""
Request = dict[str, Any]


class Link:
    """One tracker: what it is to hear, and the process that tells it."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self._name, self._say = name, say
        self._waiting: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._process: subprocess.Popen[str] | None = None
        self._busy_since: float | None = None
        """Since when the tracker has a request; None: it waits for one."""
        self._fault: str | None = None
        self.left_out = False
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def tell(self, request: Request) -> None:
        """Pass something on, as long as the tracker takes it; returns at once."""
        self._hear()
        if not self.left_out:
            self._waiting.put(request)

    def end(self) -> None:
        """Nothing more comes."""
        self._waiting.put(None)

    def close(self, seconds: float) -> None:
        """Wait so long for what is still to be sent, and for a request under way until it counts as dead; the
        rest is lost."""
        self._hear()
        if not self.left_out:
            since = self._busy_since
            # A short run ends while the package is still being imported, or a new database is made.
            due = 0.0 if since is None else MOST_SECONDS - (time.monotonic() - since)
            self._thread.join(max(0.0, seconds, due))
            if self._thread.is_alive():
                self._fault = self._fault or "it takes too long to answer"
            self._hear()

    def _hear(self) -> None:
        since = self._busy_since
        if since is not None and time.monotonic() - since > MOST_SECONDS:
            self._fault = self._fault or f"it did not answer within {MOST_SECONDS:g} s"
        if self._fault is not None and not self.left_out:
            self.left_out = True
            self._kill()
            self._say(f"warning: {self._name} is left out from here on: {self._fault}")

    def _kill(self) -> None:
        # Everything of its session: W&B has a process of its own besides.
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _work(self) -> None:
        try:
            self._busy_since = time.monotonic()
            self._process = process = _start(self._name)
            if self.left_out:
                self._kill()  # Given up while it started.
            for request in self._requests():
                self._busy_since = time.monotonic()
                _ask(process, request)
                self._busy_since = None
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
        except FileNotFoundError:
            self._fault = f"{PYTHON} names no program: {os.environ.get(PYTHON)}"
        except Exception as fault:
            self._fault = self._fault or str(fault) or type(fault).__name__

    def _requests(self) -> Iterator[Request]:
        """What is to be told until the end, all that waits for one run in one request: a server may be far
        away."""
        self._busy_since = None
        ended = False
        while not ended:
            waiting = [self._waiting.get()]
            while not self._waiting.empty():
                waiting.append(self._waiting.get())
            ended = None in waiting
            joined: list[Request] = []
            for request in filter(None, waiting):
                last = joined[-1] if joined else {}
                if "records" in request and "records" in last and last["run"] == request["run"]:
                    last["records"] += request["records"]
                else:
                    joined.append(request)
            yield from joined


class Run:
    """One training or trial at every tracker; a reporter."""

    def __init__(self, links: tuple[Link, ...], number: str, opening: Mapping[str, Any]) -> None:
        self._links, self._number = links, number
        self._tell({"open": dict(opening)})

    def log(self, record: Record) -> None:
        """Pass the numbers of a record with a step on."""
        found = numbers(record) if self._links else {}
        if found:
            self._tell({"records": [{"step": int(record["step"]), **found}]})

    def end(self, status: str = FINISHED) -> None:
        """How it came out; nothing may be logged afterwards."""
        self._tell({"end": status})

    def _tell(self, request: Request) -> None:
        for link in self._links:
            link.tell({"run": self._number, **request})


class Trackers:
    """The trackers that SYNTHMILL_TRACKERS asks for (`mlflow`, `wandb`, or both with a comma)."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` hears which are left out, and why: each once, in the thread that logs."""
        self._links: list[Link] = []
        self._count = itertools.count()
        for name in asked_for():
            if name in KNOWN:
                self._links.append(Link(name, say))
            else:
                say(f"warning: no tracker is named {name!r}; {VARIABLE} takes {', '.join(KNOWN)}")

    def run(self, experiment: str, name: str, config: Mapping[str, Any]) -> Run:
        """Open a run; returns at once."""
        opening = {"experiment": experiment, "name": name, "config": _flat(config) if self._links else {}}
        return Run(tuple(self._links), str(next(self._count)), opening)

    def close(self, seconds: float = LAST_SECONDS) -> None:
        """Send what is left, within so many seconds for all of them together."""
        for link in self._links:
            link.end()
        ends = time.monotonic() + seconds
        for link in self._links:
            link.close(ends - time.monotonic())


def asked_for() -> list[str]:
    """Names in SYNTHMILL_TRACKERS."""
    words = os.environ.get(VARIABLE, "").split(",")
    return list(dict.fromkeys(word.strip() for word in words if word.strip()))


def _start(name: str) -> "subprocess.Popen[str]":
    other = os.environ.get(PYTHON)
    # Modules as this process finds them, whatever put them on its path; another interpreter has its own.
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    return subprocess.Popen(
        # Not as a module: a tracker's own environment has no need of this package. -P, as the folder of the
        # script has modules whose names others may use.
        [other or sys.executable, "-P", tracker_process.__file__, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=dict(os.environ) if other else {**os.environ, "PYTHONPATH": path},
        # A session of its own: Ctrl-C on a terminal reaches it only through us.
        start_new_session=True,
    )


def _ask(process: "subprocess.Popen[str]", request: Request) -> None:
    """Raises RuntimeError with what the tracker has against it."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(request, default=str) + "\n")
        process.stdin.flush()
    except OSError:
        pass  # It ended; why stands in its last answer, if it could give one.
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError("its process ended")
    fault = json.loads(answer).get("fault")
    if fault is not None:
        raise RuntimeError(fault)


def numbers(record: Record) -> dict[str, float]:
    """The numbers of a record with a step, nested ones as `quality/score`; nothing else of it."""
    if "step" not in record:
        return {}
    flat = _flat({key: value for key, value in record.items() if key != "step"}, "/")
    return {
        key: float(value)
        for key, value in flat.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _flat(values: Mapping[str, Any], between: str = ".", prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= _flat(value, between, f"{name}{between}") if isinstance(value, Mapping) else {name: value}
    return found
