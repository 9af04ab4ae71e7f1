"""What runs a job's command: here a process of this machine, in ray_jobs.py the cluster's job server."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import ray

import synthmill

COMMAND = (sys.executable, "-m", "synthmill.cli")
PR_SET_PDEATHSIG = 1
MOST_SAID = 500
"""Characters of a command's line that are handed on."""


class Outcome(NamedTuple):
    """How a command ended."""

    exit_code: int
    errors: str
    """What it wrote, or what is known of its end; the last line says why it failed."""


class Runner(Protocol):
    """Runs commands of `synthmill`, each under the id of its job."""

    outlives_us: bool
    """Whether commands go on when this process ends."""

    async def run(self, job_id: str, arguments: list[str]) -> Outcome:
        """Run the command to its end, or wait for the end of the one that an earlier process started."""

    def is_running(self, job_id: str) -> bool:
        """Whether the command has begun and not ended."""

    async def said(self, job_id: str) -> str | None:
        """The last line that a running command said: what it waits for, or how far it is."""

    async def stop(self, job_id: str) -> None:
        """Ask the command to end, also one that has not begun yet; `run` then returns."""

    async def kill(self, job_id: str) -> None:
        """End a command that did not heed `stop`."""


class ProcessRunner:
    """Runs commands as processes of this machine."""

    outlives_us = False

    def __init__(self) -> None:
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._said: dict[str, str] = {}
        self._stopping: set[str] = set()

    async def run(self, job_id: str, arguments: list[str]) -> Outcome:
        """See `Runner`."""
        # Ray of its own would share this machine's CPUs with the replicas unknown to either.
        address = ray.get_runtime_context().gcs_address if ray.is_initialized() else None
        same_cluster = {"RAY_ADDRESS": address} if address else {}
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            env={**os.environ, **same_cluster, "PYTHONPATH": python_path()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # `kill` ends the command's own processes, too.
            preexec_fn=_die_with_parent,
        )
        self._processes[job_id] = process
        try:
            if job_id in self._stopping:
                # `stop` came while the process was being made.
                _signal(process.terminate)
            assert process.stdout is not None
            assert process.stderr is not None
            # Both at once: a command whose pipe is full would wait for ever.
            errors, _, _ = await asyncio.gather(
                process.stderr.read(), self._listen(job_id, process.stdout), process.wait()
            )
            return Outcome(process.returncode or 0, errors.decode(errors="replace"))
        finally:
            del self._processes[job_id]
            self._said.pop(job_id, None)
            self._stopping.discard(job_id)

    def is_running(self, job_id: str) -> bool:
        """See `Runner`."""
        return job_id in self._processes

    async def said(self, job_id: str) -> str | None:
        """See `Runner`."""
        return self._said.get(job_id)

    async def _listen(self, job_id: str, output: asyncio.StreamReader) -> None:
        """Keep the last line, to the end of the output."""
        rest = b""
        # Not line by line: asyncio raises for one that is longer than its buffer.
        while piece := await output.read(1 << 16):
            *lines, rest = (rest + piece).split(b"\n")
            if said := last_said(lines):
                self._said[job_id] = said
            rest = rest[-MOST_SAID:]

    async def stop(self, job_id: str) -> None:
        """See `Runner`."""
        self._stopping.add(job_id)
        if job_id in self._processes:
            _signal(self._processes[job_id].terminate)

    async def kill(self, job_id: str) -> None:
        """The whole session: the command has processes of its own."""
        process = self._processes.get(job_id)
        if process is not None:
            _signal(lambda: os.killpg(process.pid, signal.SIGKILL))


def last_said(lines: list[bytes]) -> str | None:
    """The last line for people; the closing one, JSON, is the job's result."""
    texts = (line.decode(errors="replace").strip() for line in reversed(lines))
    said = next((text for text in texts if text and not text.startswith("{")), None)
    return said[:MOST_SAID] if said else None


def python_path() -> str:
    """PYTHONPATH with which a process finds this package, and what else this one finds."""
    root = str(Path(next(iter(synthmill.__path__))).parent)
    return os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])


def _die_with_parent() -> None:
    """In the child: a state actor that is killed takes its processes with it; whoever resumes their jobs must
    not run beside them."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _signal(send: Callable[[], None]) -> None:
    # It may end by itself at any moment.
    with contextlib.suppress(ProcessLookupError):
        send()
