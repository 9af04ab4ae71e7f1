#!/usr/bin/env python3
"""What a lost machine and a new one cost a run with a range of workers: seconds to the next step and to
growing back, steps that came twice, and whether the model is that of an undisturbed run.

    .venv/bin/python benchmarks/elastic.py --threads 1 --repeats 3

The machines are real raylets: a head without CPUs and two nodes of one. One of them is killed (SIGKILL to all
of its processes) while both train, and another one is started once the run goes on. Steps are seen in the
run's records, which a worker writes once a second. `worker start`: from the start of the new training process
to its first step; a process that Ray had ready counts from the loss.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import harness
import numpy as np

STEPS = 300
MODEL = "{embedding_dim: 8, compress_dims: [256, 256], decompress_dims: [256, 256]}"
RECIPE = {
    "name": "elastic",
    "model.name": "tvae",
    "model.config": MODEL,
    "data.target": "plan",
    "training.max_steps": STEPS,
    "training.max_epochs": 100_000,
    "training.threads": 1,
    "training.precision": "fp32",
    "training.checkpoint_seconds": 5,
    "training.resize_seconds": 1,
    # Steps that take a while, rather than many of them: rounding grows with each.
    "training.global_batch_rows": 10_000,
    "training.check_every_steps": STEPS,
    "training.patience_checks": "never",
}
PATIENCE_SECONDS = 600.0
TICK = 0.05


def until(found: Callable[[], Any], what: str) -> Any:
    """The first answer that is one."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not (answer := found()):
        if time.monotonic() > end:
            sys.exit(f"waited in vain for {what}")
        time.sleep(TICK)
    return answer


class Run:
    """A training job, what it says with the time of each line, and the steps of its records."""

    def __init__(self, source: Path, store: Path, workers: str, address: str | None) -> None:
        settings = {**RECIPE, "data.source": source, "training.workers": workers}
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        self.store = store
        self.process = subprocess.Popen(
            [sys.executable, str(harness.ROOT / "jobs/train.py"), "table", *words, "--store", str(store)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=harness.ROOT,
            env={**harness.environment(1), **({"RAY_ADDRESS": address} if address else {})},
        )
        self.lines: list[tuple[float, str]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append((time.time(), line.rstrip("\n")))

    def said(self, pattern: str) -> tuple[float, "re.Match[str]"]:
        """When the first line that matches came, and the match."""

        def found() -> Any:
            if self.process.poll():
                sys.exit("\n".join(line for _, line in self.lines[-10:]))
            return next(((at, m) for at, line in self.lines if (m := re.search(pattern, line))), None)

        answer: tuple[float, re.Match[str]] = until(found, pattern)
        return answer

    def record(self) -> tuple[float, int, str]:
        """When the newest record was written, its step and who wrote it."""
        for live in self.store.glob("runs/*/*/live.json"):
            try:
                told = json.loads(live.read_text())
                return live.stat().st_mtime, int(told.get("step", 0)), str(told["writer"])
            except (OSError, ValueError):
                break
        return 0.0, 0, ""

    def next_step(self, writer: str) -> tuple[float, int, str]:
        """The first record of a step by another writer."""

        def found() -> Any:
            at, step, by = self.record()
            return (at, step, by) if step and by != writer else None

        answer: tuple[float, int, str] = until(found, "a step of the next group")
        return answer

    def weights(self) -> dict[str, np.ndarray]:
        from safetensors.numpy import load_file

        if self.process.wait() != 0:
            sys.exit("\n".join(line for _, line in self.lines[-10:]))
        return load_file(self.store / "models/elastic/1/weights.safetensors")


@contextmanager
def two_nodes() -> Iterator[tuple[Any, list[Any]]]:
    """A head without CPUs and two nodes of one."""
    import ray
    from ray.cluster_utils import Cluster

    path = {"PYTHONPATH": str(harness.ROOT / "platform"), "OMP_NUM_THREADS": "1"}
    cluster = Cluster(initialize_head=True, connect=False, head_node_args={"num_cpus": 0, "env_vars": path})
    try:
        nodes = [cluster.add_node(num_cpus=1, env_vars=path) for _ in range(2)]
        cluster.wait_for_nodes()
        yield cluster, nodes
    finally:
        ray.shutdown()
        cluster.shutdown()


def started_after(moment: float) -> float:
    """When the newest training process started, at least `moment`: one that Ray had ready is older."""
    ticks, newest = os.sysconf("SC_CLK_TCK"), moment
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if "RayTrainWorker" in (process / "cmdline").read_text():
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                newest = max(newest, booted + int(fields[19]) / ticks)
        except OSError:
            continue
    return newest


def calm(source: Path, keep: Path) -> dict[str, Any]:
    """The undisturbed run, whose weights are kept."""
    with tempfile.TemporaryDirectory(prefix="elastic-") as folder:
        run = Run(source, Path(folder), "1", None)
        np.savez(keep, **run.weights())
    return {"steps": STEPS}


def disturbed(source: Path, expected: Path) -> dict[str, Any]:
    """A run that loses one of two machines and gets another."""
    with tempfile.TemporaryDirectory(prefix="elastic-") as folder, two_nodes() as (cluster, nodes):
        run = Run(source, Path(folder), "1..2", cluster.address)
        run.said(r"^training with 2 of at most 2 workers$")
        until(lambda: list(run.store.glob("runs/*/*/checkpoints/*/manifest.json")), "a checkpoint")
        _, before, writer = run.next_step("")
        lost = time.time()
        cluster.remove_node(nodes[0], allow_graceful=False)
        _, before, writer = max(run.record(), (0.0, before, writer))
        said, _ = run.said(r"^a node was lost: going on with 1 of 2 workers$")
        went_on, _, writer = run.next_step(writer)
        resumed = int(run.said(rf"^resumed at step (\d+) of {STEPS}$")[1][1])
        start = went_on - started_after(lost)

        joined_at = time.time()
        cluster.add_node(num_cpus=1)
        joined = int(run.said(r"^a second worker joined at step (\d+)$")[1][1])
        grown, _, _ = run.next_step(writer)
        grown_start = grown - started_after(joined_at)
        found = run.weights()
        again = [m for _, line in run.lines if (m := re.search(rf"^resumed at step (\d+) of {STEPS}$", line))]
        wanted = np.load(expected)
        names = [name for name in found if name.startswith("decoder.")]
        apart = sum(float(np.square(found[name] - wanted[name]).sum()) for name in names)
        size = sum(float(np.square(wanted[name]).sum()) for name in names)
    return {
        "to_next_step_seconds": went_on - lost,
        "told_after_seconds": said - lost,
        "worker_start_seconds": start,
        "beyond_start_seconds": went_on - lost - start,
        "repeated_after_loss": before - resumed,
        "grow_back_seconds": grown - joined_at,
        "grow_start_seconds": grown_start,
        "repeated_when_growing": joined - int(again[-1][1]),
        "weights_apart": (apart / size) ** 0.5,
    }


def main() -> None:
    parser = harness.parser(__doc__, "elastic")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/elastic"), help="for the file that is made")
    parser.set_defaults(repeats=3)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    from scale import make

    source, expected = options.folder / "20000.parquet", options.folder / "calm.npz"
    if not source.exists():
        make(source, 20_000)
    cells = harness.Cells(options, "threads")
    if not expected.exists() or not cells.has("calm"):
        cells.run("calm", lambda: calm(source, expected))
    runs = [
        cells.run(f"disturbed/{number}", lambda: disturbed(source, expected))
        for number in range(options.repeats)
    ]
    fields = [name for name in runs[0] if name not in ("measured", "wall_seconds")]
    rows = [
        {"": name, "median": harness.median(runs, name), "most": max(run[name] for run in runs)}
        for name in fields
    ]
    print(harness.table(rows))


if __name__ == "__main__":
    main()
