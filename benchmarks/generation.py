#!/usr/bin/env python3
"""Rows per second through sampling, decoding and Parquet, and memory: one process, k one-thread actors, and the peer.

    .venv/bin/python benchmarks/generation.py --data adult.csv

The actors are those of `jobs/augment.py`, run as a user runs it; their rate is taken between the first and the last part they
write, so that starting Ray and evaluating the result do not count (the whole job's time is in the cell). One process does the
same work with one thread. The peer samples in pieces and writes Parquet as its users would.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import harness
import pandas as pd

MODELS = ("ctgan", "tvae")
PIECE_ROWS = 100_000
MEMORY_ROWS = 10_000_000
POLL_SECONDS = 0.5


def trained(cells: harness.Cells, options: argparse.Namespace, model: str) -> None:
    """A model to sample from, in the benchmark's store; how good it is does not matter here."""
    if (options.store / "models" / model / "1" / "_manifest.json").exists():
        return
    given = [f"name={model}", f"data.source={options.data.resolve()}", f"data.target={options.target}", f"model.name={model}"]
    words = [word for item in [*given, f"training.max_steps={options.train_steps}"] for word in ("--set", item)]
    harness.job(["jobs/train.py", "table", *words, "--store", str(options.store)])


def one_process(options: argparse.Namespace, model: str, rows: int) -> dict[str, Any]:
    task = {"store": str(options.store), "model": model, "rows": rows}
    return harness.process([sys.executable, __file__, "--child"], task, threads=1)


def child(task_path: str, result_path: str) -> None:
    """What one actor does, without Ray: shard, Parquet file, next shard."""
    from synthmill.catalog.store import Store
    from synthmill.generation.generator import Generator
    from synthmill.generation.shards import ShardPlan
    from synthmill.storage.parquet import write_part

    task = json.loads(Path(task_path).read_text())
    generator = Generator.load(Store(task["store"]).resolve("models", task["model"], field="model"))
    plan = ShardPlan(rows=task["rows"], seed=7)
    resident = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        generator.shard(plan, plan.shard(0))
        started, used = time.perf_counter(), time.process_time()
        for shard in plan.shards():
            table = generator.shard(plan, shard)
            path = Path(folder) / "part.parquet"
            write_part([table], table.schema, path, {})
            path.unlink()
            resident.append(resident_mib(os.getpid()))
        seconds, used = time.perf_counter() - started, time.process_time() - used
    told = {"rows_per_second": task["rows"] / seconds, "rows_per_cpu_second": task["rows"] / used}
    told |= {"mib_early": max(resident[: len(resident) // 10 + 1]), "mib_late": max(resident)}
    Path(result_path).write_text(json.dumps(told))


def actors(options: argparse.Namespace, model: str, rows: int, count: int) -> dict[str, Any]:
    """`jobs/augment.py` with `count` workers; the rate between its first and its last part."""
    watch = Watch()
    with watch:
        words = ["--model", model, "--rows", str(rows), "--seed", "7", "--workers", str(count), "--dataset", f"{model}-{count}"]
        told = harness.job(["jobs/augment.py", *words, "--store", str(options.store)])
    folder = Path(told["uri"].removeprefix("file://"))
    files = json.loads((folder / "_manifest.json").read_text())["files"]
    written = sorted(((folder / file["path"]).stat().st_mtime, file["rows"]) for file in files)
    for part in folder.glob("*.parquet"):
        part.unlink()
    late = [made for _, made in written[count:]]
    seconds = written[-1][0] - written[count - 1][0]
    return {"rows_per_second": sum(late) / seconds, "job_seconds": told["wall_seconds"], "actor_mib": watch.most_mib}


class Watch:
    """Largest resident memory of one generating actor below this process, sampled while a job runs."""

    def __init__(self) -> None:
        self.most_mib = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(POLL_SECONDS):
            mine = [process for process in descendants(os.getpid()) if "ray::write_part" in command_of(process)]
            self.most_mib = max([self.most_mib, *(resident_mib(process) for process in mine)])


def descendants(root: int) -> list[int]:
    """Process ids below `root`."""
    parents = {int(path.name): parent_of(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit()}
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found[1:]


def parent_of(process: int) -> int:
    return int(status(process).get("PPid", "0"))


def resident_mib(process: int) -> float:
    return int(status(process).get("VmRSS", "0 kB").split()[0]) / 1024


def status(process: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def command_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def peer(options: argparse.Namespace, model: str, folder: Path) -> dict[str, Any]:
    return harness.peer(
        options,
        task="generate",
        model=model,
        batch_rows=500,
        rows=options.peer_rows,
        piece_rows=PIECE_ROWS,
        train=str(folder / "train.parquet"),
        folder=str(folder),
    )


def measure(options: argparse.Namespace, cells: harness.Cells, folder: Path, model: str) -> None:
    trained(cells, options, model)
    contenders = {"one-process": lambda: one_process(options, model, options.rows)}
    contenders |= {f"actors-{count}": lambda count=count: actors(options, model, options.rows, count) for count in options.workers}
    contenders |= {"peer": lambda: peer(options, model, folder)} if options.peers.exists() else {}
    runs = cells.alternate(f"{model}/{options.rows}", contenders, options.repeats)
    rate = {name: harness.median(found, "rows_per_second") for name, found in runs.items()}
    counts = {"one-process": 1, **{f"actors-{count}": count for count in options.workers}}
    rows = [
        {
            "": name,
            "rows/s": f"{value:,.0f}",
            "of k times one": f"{value / counts[name] / rate['one-process']:.0%}" if name in counts else "-",
        }
        for name, value in rate.items()
    ]
    print(f"\n{model}, {options.rows:,} rows\n\n{harness.table(rows)}\n", flush=True)
    if options.memory_rows:
        told = cells.run(f"{model}/memory/{options.memory_rows}", lambda: one_process(options, model, options.memory_rows))
        print(
            f"{model}: {told['mib_early']:.0f} MiB after a tenth of {options.memory_rows:,} rows, {told['mib_late']:.0f} MiB at most\n",
            flush=True,
        )


def main() -> None:
    parser = harness.parser(__doc__, "generation")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--target", default="income")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--memory-rows", type=int, default=MEMORY_ROWS, help="0: leave the memory run out")
    parser.add_argument("--peer-rows", type=int, default=500_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, len(os.sched_getaffinity(0))])
    parser.add_argument("--train-steps", type=int, default=500)
    parser.add_argument("--store", type=Path, help="where models and datasets of the benchmark go; default: benchmarks/store")
    options = parser.parse_args()
    options.store = (options.store or harness.HERE / "store").resolve()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        pd.read_csv(options.data, skipinitialspace=True, na_values=["?"]).to_parquet(Path(folder) / "train.parquet")
        cells = harness.Cells(options, "data", "target", "threads", "peer_rows", "train_steps")
        for model in options.models:
            measure(options, cells, Path(folder), model)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:4])
    else:
        main()
