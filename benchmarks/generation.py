#!/usr/bin/env python3
"""Rows per second through sampling, decoding and Parquet, and memory: one process, k one-thread actors, and
the peer.

    .venv/bin/python benchmarks/generation.py --data adult.csv

The actors are those of `jobs/augment.py`, run as a user runs it; their rate is taken between the first and
the last part they write, so that starting Ray and evaluating the result do not count (the whole job's time is
in the cell). One process does the same work with one thread. The peer samples in pieces and writes Parquet as
its users would.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import pandas as pd
from memory import Memory, resident_mib

MODELS = ("ctgan", "tvae")
PIECE_ROWS = 100_000
MEMORY_ROWS = 10_000_000


def trained(cells: harness.Cells, options: argparse.Namespace, model: str) -> None:
    """A model to sample from, in the benchmark's store; how good it is does not matter here."""
    if (options.store / "models" / model / "1" / "_manifest.json").exists():
        return
    given = [
        f"name={model}",
        f"data.source={options.data.resolve()}",
        f"data.target={options.target}",
        f"model.name={model}",
    ]
    words = [
        word for item in [*given, f"training.max_steps={options.train_steps}"] for word in ("--set", item)
    ]
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
    with Memory({"actor": "ray::write_part"}, every=0.5) as memory:
        words = [
            "--model",
            model,
            "--rows",
            str(rows),
            "--seed",
            "7",
            "--workers",
            str(count),
            "--dataset",
            f"{model}-{count}",
        ]
        told = harness.job(["jobs/augment.py", *words, "--store", str(options.store)])
    folder = Path(told["uri"].removeprefix("file://"))
    files = json.loads((folder / "_manifest.json").read_text())["files"]
    written = sorted(((folder / file["path"]).stat().st_mtime, file["rows"]) for file in files)
    for part in folder.glob("*.parquet"):
        part.unlink()
    late = [made for _, made in written[count:]]
    seconds = written[-1][0] - written[count - 1][0]
    return {
        "rows_per_second": sum(late) / seconds,
        "job_seconds": told["wall_seconds"],
        "actor_mib": memory.most_mib("actor"),
    }


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
    contenders |= {
        f"actors-{count}": lambda count=count: actors(options, model, options.rows, count)
        for count in options.workers
    }
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
        told = cells.run(
            f"{model}/memory/{options.memory_rows}", lambda: one_process(options, model, options.memory_rows)
        )
        print(
            f"{model}: {told['mib_early']:.0f} MiB after a tenth of {options.memory_rows:,} rows,"
            f" {told['mib_late']:.0f} MiB at most\n",
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
    parser.add_argument(
        "--store", type=Path, help="where models and datasets of the benchmark go; default: benchmarks/store"
    )
    options = parser.parse_args()
    options.store = (options.store or harness.HERE / "store").resolve()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        pd.read_csv(options.data, skipinitialspace=True, na_values=["?"]).to_parquet(
            Path(folder) / "train.parquet"
        )
        cells = harness.Cells(options, "data", "target", "threads", "peer_rows", "train_steps")
        for model in options.models:
            measure(options, cells, Path(folder), model)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:4])
    else:
        main()
