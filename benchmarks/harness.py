"""What every benchmark shares: cells that are saved as they are measured, alternating runs, the machine, the
peer's process.

A result file holds one JSON object: `machine`, `settings` and `cells`. A cell that is there is not measured
again, so a benchmark that was cut off goes on; another machine, other versions, data or settings need a file
of their own.
"""

import argparse
import ctypes
import hashlib
import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
REPEATS = 5
PACKAGES = ("torch", "ray", "pyarrow", "numpy", "scikit-learn")


class Cells:
    """The measurements of one result file."""

    def __init__(self, options: argparse.Namespace, *settings: str) -> None:
        """`settings` name the options that a cell's value depends on and its key does not state."""
        self.path: Path = options.results
        found = json.loads(self.path.read_text()) if self.path.is_file() else {}
        self._about = {
            "machine": machine(),
            "settings": {name: stated(getattr(options, name)) for name in settings},
        }
        for part, here in self._about.items():
            if found and found[part] != here:
                sys.exit(
                    f"{self.path} was measured with another {part}: {found[part]}, now {here}; choose another"
                    " --results or remove it"
                )
        self._cells: dict[str, Any] = found.get("cells", {})
        self._until = float("inf")

    def stop_after(self, minutes: float | None) -> None:
        """Start no cell that is not measured after so many minutes from now; None: whenever."""
        self._until = float("inf") if minutes is None else time.monotonic() + 60.0 * minutes

    def run(self, key: str, measure: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The cell `key`; measured and saved if it is not there yet."""
        if key not in self._cells:
            if time.monotonic() > self._until:
                sys.exit(
                    f"time is up before {key}; what was measured is in {self.path}, and a rerun goes on from"
                    " there"
                )
            print(f"{datetime.now(UTC):%H:%M:%S} {key} ...", flush=True)
            started = time.perf_counter()
            self._cells[key] = {
                **measure(),
                "measured": f"{datetime.now(UTC):%Y-%m-%d}",
                "wall_seconds": round(time.perf_counter() - started, 2),
            }
            self._save()
            print(f"         {key}: {brief(self._cells[key])}", flush=True)
        return dict(self._cells[key])

    def has(self, key: str) -> bool:
        """Whether the cell is measured."""
        return key in self._cells

    def alternate(
        self, name: str, contenders: Mapping[str, Callable[[], Mapping[str, Any]]], repeats: int = REPEATS
    ) -> dict[str, list[dict[str, Any]]]:
        """Every contender in turn, `repeats` times over, so that a change of the machine's load meets them
        all."""
        runs: dict[str, list[dict[str, Any]]] = {contender: [] for contender in contenders}
        for number in range(repeats):
            for contender, measure in contenders.items():
                runs[contender].append(self.run(f"{name}/{contender}/{number}", measure))
        return runs

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_file():  # Another process may be measuring other cells of the same file.
            self._cells = {**json.loads(self.path.read_text())["cells"], **self._cells}
        scratch = self.path.with_suffix(".tmp")
        scratch.write_text(json.dumps({**self._about, "cells": self._cells}, indent=1) + "\n")
        scratch.replace(self.path)


def stated(value: Any) -> Any:
    """An option as it is recorded: a file by its content."""
    if isinstance(value, Path):
        return f"{value.name} sha256:{hashlib.sha256(value.read_bytes()).hexdigest()[:16]}"
    return value


def median(runs: list[dict[str, Any]], field: str) -> float:
    return float(statistics.median(run[field] for run in runs))


def machine() -> dict[str, Any]:
    """What a figure depends on besides the code."""
    import torch

    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "isa": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        **{name: installed(name) for name in PACKAGES},
    }


def installed(package: str) -> str | None:
    """Its version; None: it is not there, as Ray need not be for benchmarks of the loop."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def parser(description: str | None, name: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--results",
        type=Path,
        default=HERE / "results" / f"{name}.json",
        help="measured cells; a rerun continues",
    )
    made.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="torch threads of every contender"
    )
    made.add_argument("--repeats", type=int, default=REPEATS, help="alternating runs of each contender")
    made.add_argument(
        "--peers",
        type=Path,
        default=ROOT / ".venv-peers" / "bin" / "python",
        help="python made by setup_peers.sh",
    )
    return made


def cpu_seconds() -> float:
    """CPU time of this process and of those it waited for; unlike wall time it says much the same on a busy
    machine."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def environment(threads: int) -> dict[str, str]:
    """The environment of a measured process: its threads, and our source root."""
    count = {
        name: str(threads)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
    }
    return {**os.environ, **count, "PYTHONPATH": str(ROOT / "platform"), "RAY_USAGE_STATS_ENABLED": "0"}


def process(command: list[str], task: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """Run `command TASK.json RESULT.json` and read what it wrote; `process_cpu_seconds` is all that the
    process used, imports included."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        given, result = Path(folder) / "task.json", Path(folder) / "result.json"
        given.write_text(json.dumps(dict(task), default=str))
        before = cpu_seconds()
        done = subprocess.run(
            [*command, str(given), str(result)],
            env=environment(threads),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        return {**json.loads(result.read_text()), "process_cpu_seconds": round(cpu_seconds() - before, 2)}


def attempt(
    command: list[str], task: Mapping[str, Any], threads: int, limit_minutes: float
) -> dict[str, Any]:
    """As `process`, for what may fail or take too long, which is a result: `failed` says why."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        given, result = Path(folder) / "task.json", Path(folder) / "result.json"
        given.write_text(json.dumps(dict(task), default=str))
        before = cpu_seconds()
        with subprocess.Popen(
            [*command, str(given), str(result)],
            env={**environment(threads), "TMPDIR": folder},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        ) as running:
            try:
                _, said = running.communicate(timeout=60 * limit_minutes)
                failed = said.strip().splitlines()[-1][:300] if running.returncode and said.strip() else None
            except subprocess.TimeoutExpired:
                failed = f"did not finish in {limit_minutes:g} minutes"
                os.killpg(running.pid, signal.SIGKILL)
        used = {"process_cpu_seconds": round(cpu_seconds() - before, 2)}
        if failed or not result.is_file():
            return {"failed": failed or f"ended with {running.returncode}", **used}
        return {**json.loads(result.read_text()), **used}


def peer(options: argparse.Namespace, **task: Any) -> dict[str, Any]:
    """One task of `peer_ctgan.py`, in the peers' own environment."""
    if not options.peers.exists():
        sys.exit(
            f"{options.peers} is not there; run benchmarks/setup_peers.sh first, or name another with --peers"
        )
    return process(
        [str(options.peers), str(HERE / "peer_ctgan.py")],
        {**task, "threads": options.threads},
        options.threads,
    )


def job(arguments: list[str], threads: int | None = None) -> dict[str, Any]:
    """Run one of our commands as a user would, and return the JSON line it ends with, with `wall_seconds`."""
    started = time.perf_counter()
    env = environment(threads) if threads else {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=_end_with_parent,
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {**answer, "wall_seconds": round(time.perf_counter() - started, 2)}


def _end_with_parent() -> None:
    """A benchmark that was killed must not leave a job that holds what its rerun goes on with."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def brief(cell: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in cell.items()
        if not isinstance(value, list | dict)
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Rows with equal keys as a Markdown table."""
    head = list(rows[0])
    text = [
        [f"{row[key]:.4g}" if isinstance(row[key], float) else str(row[key]) for key in head] for row in rows
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *text])
