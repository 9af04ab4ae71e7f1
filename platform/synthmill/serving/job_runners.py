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

    async def stop(self, job_id: str) -> None:
        """Ask the command to end, also one that has not begun yet; `run` then returns."""

    async def kill(self, job_id: str) -> None:
        """End a command that did not heed `stop`."""


class ProcessRunner:
    """Runs commands as processes of this machine."""

    outlives_us = False

    def __init__(self) -> None:
        self._processes: dict[str, asyncio.subprocess.Process] = {}
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
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # `kill` ends the command's own processes, too.
            preexec_fn=_die_with_parent,
        )
        self._processes[job_id] = process
        try:
            if job_id in self._stopping:
                # `stop` came while the process was being made.
                _signal(process.terminate)
            _, errors = await process.communicate()
            return Outcome(process.returncode or 0, errors.decode(errors="replace"))
        finally:
            del self._processes[job_id]
            self._stopping.discard(job_id)

    def is_running(self, job_id: str) -> bool:
        """See `Runner`."""
        return job_id in self._processes

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
