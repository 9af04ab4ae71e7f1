#!/usr/bin/env python3
"""How training grows with the rows of its source: memory of the driver and of the worker, processor seconds
before the first step against a plain read of the same file, steps from shards against steps in memory
(`ms` of the clock without checks, `CPU ms` with them), and what checks take.

    .venv/bin/python benchmarks/scale.py --rows 1000000 5000000 --folder /tmp/scale
    .venv/bin/python benchmarks/scale.py --rows 20000000 --folder /tmp/scale --only read prepare job

makes a Parquet file of 15 mixed columns for each number of rows, in blocks, and keeps it in the folder.
Seconds are those of the processors, all threads together: a busy machine lengthens them less. Memory is
anonymous (RssAnon); mapped files, which the system takes back when it needs room, are not in it. The reading
against which preparation is held (P) is measured in the same run, before and after it.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import harness
import memory
import numpy as np

BLOCK = 500_000
PARTS = ("read", "prepare", "tasks", "draws", "steps", "job")


def make(path: Path, rows: int) -> None:
    """A key, numbers with and without a grid, categories of 2 to 3,000 levels, dates, times, missing
    cells; what is there already stays."""
    if path.exists():
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, writer = np.random.default_rng(0), None
    cities = pa.array([f"City {number}" for number in range(3000)])
    plans, countries = pa.array(["basic", "pro", "team"]), pa.array(["DE", "NA", "US", "FR"])
    for start in range(0, rows, BLOCK):
        size = min(BLOCK, rows - start)
        plan, money = rng.integers(0, 3, size), rng.gamma(2.0, 900.0, size)
        table = pa.table(
            {
                "id": np.arange(start + 1, start + size + 1),
                "age": pa.array(rng.integers(18, 90, size), mask=rng.random(size) < 0.05),
                "income": np.round(money * (1 + plan), 2),
                "score": rng.normal(size=size) + plan,
                "code": rng.integers(0, 2000, size),
                "plan": plans.take(pa.array(plan)),
                "city": cities.take(pa.array((rng.random(size) ** 2 * 3000).astype(np.int64))),
                "active": rng.random(size) < 0.7,
                "joined": pa.array(rng.integers(0, 3000, size).astype("M8[D]")),
                "seen": pa.array(rng.integers(1_500_000_000, 1_700_000_000, size).astype("M8[s]")),
                "share": np.round(rng.random(size), 4),
                "clicks": rng.poisson(4 + plan),
                "country": countries.take(pa.array(rng.integers(0, 4, size))),
                "rating": rng.integers(1, 6, size),
                "income2": np.round(money * 1.2 + rng.normal(size=size), 1),
            }
        )
        writer = writer or pq.ParquetWriter(path.with_suffix(".tmp"), table.schema)
        writer.write_table(table)
    assert writer is not None, "no rows were asked for"
    writer.close()
    path.with_suffix(".tmp").replace(path)


class Anonymous:
    """The most anonymous memory of a process while the block runs, MiB."""

    def __init__(self, process: int | str = "self") -> None:
        self._status, self.most, self._done = Path(f"/proc/{process}/status"), 0.0, threading.Event()

    def __enter__(self) -> "Anonymous":
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.05):
            self.most = max(self.most, anonymous_mib(self._status))


def anonymous_mib(status: Path) -> float:
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


def recipe_of(task: dict[str, Any]) -> Any:
    from synthmill.config import load_recipe

    return load_recipe("table", tuple(task["overrides"]))


def read(task: dict[str, Any]) -> dict[str, Any]:
    """P: all row groups, all columns, nothing done with them."""
    import pyarrow.parquet as pq

    before = time.process_time()
    # Otherwise Arrow keeps the bytes of the whole file, which the largest do not leave room for.
    file = pq.ParquetFile(task["source"], pre_buffer=False)
    rows = sum(batch.num_rows for batch in file.iter_batches())
    return {"rows": rows, "cpu_seconds": time.process_time() - before}


def prepare(task: dict[str, Any]) -> dict[str, Any]:
    """What the driver does before the first step: scan, split, fit the codec, encode."""
    from synthmill.runtime import prepare as first
    from synthmill.runtime.encode import encode_rows
    from synthmill.storage.folder import Folder

    recipe = recipe_of(task)
    with tempfile.TemporaryDirectory(prefix="scale-", dir=task["folder"]) as store:
        with Anonymous() as used:
            begun = time.process_time()
            prepared = first.prepare(recipe, store)
            scanned = time.process_time()
            index = encode_rows(prepared, Folder(store).child("run"))
            ended = time.process_time()
        assert index is not None, "the source was read whole"
        size = sum(file.bytes for file in index.files)
    return {
        "cpu_seconds": ended - begun,
        "scan_cpu_seconds": scanned - begun,
        "encode_cpu_seconds": ended - scanned,
        "bytes_a_row": size / index.rows,
        "anonymous_mib": used.most,
    }


def tasks(task: dict[str, Any]) -> dict[str, Any]:
    """A scan by so many Ray tasks at a time (0: by the driver), Ray's own start left out: seconds of the
    clock, processor seconds of the driver and of the tasks, and the memory of both."""
    import ray

    from synthmill.config import fingerprint
    from synthmill.runtime import prepare as first
    from synthmill.runtime.scan_parts import ScanRunner

    first.LEAST_PARTS = 0  # However small it is.
    number, most = task["tasks"], {"driver": 0.0, "task": 0.0}
    used: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="scale-", dir=task["folder"]) as store:
        begun = first.begin(recipe_of(task), store)
        assert isinstance(begun, first.Unscanned), "the source is streamed"
        ray.init(address="local", num_cpus=max(1, number), include_dashboard=False, log_to_driver=False)
        # Processes that are there before the first task.
        ray.get([ray.remote(ready).remote() for _ in range(number)])
        done = threading.Event()

        looked = 0.0

        def look() -> None:
            nonlocal looked
            while not done.wait(0.2):
                most["driver"] = max(most["driver"], anonymous_mib(Path("/proc/self/status")))
                for process in memory.descendants(os.getpid()):
                    if "ray::" in memory.command_of(process):
                        used.setdefault(process, [cpu_seconds(process)]).append(cpu_seconds(process))
                        seen = anonymous_mib(Path(f"/proc/{process}/status"))
                        most["task"] = max(most["task"], seen)
                looked = time.thread_time()

        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        at, cpu = time.perf_counter(), time.process_time()
        prepared = begun.scanned(ScanRunner(number))
        wall, cpu = time.perf_counter() - at, time.process_time() - cpu
        time.sleep(0.4)
        # What looking took is no part of the scan.
        cpu -= looked
        done.set()
        looking.join()
        ray.shutdown()
    return {
        "wall_s": wall,
        "driver_cpu_seconds": cpu,
        "tasks_cpu_seconds": sum(max(seen) - seen[0] for seen in used.values()),
        "driver_anonymous_mib": most["driver"],
        "task_anonymous_mib": most["task"],
        "codec": fingerprint(prepared.rows.codec.to_files()[0]),
    }


def ready() -> None:
    """In a task: imports what it needs."""
    import synthmill.runtime.scan_parts  # noqa: F401


def cpu_seconds(process: int) -> float:
    """Of a process so far; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def steps(task: dict[str, Any]) -> dict[str, Any]:
    """The loop of one worker, from shards or in memory; what is read first is encoded first."""
    from synthmill.data.scratch import opened_shards
    from synthmill.runtime.encode import encode_rows, shards_in
    from synthmill.runtime.prepare import prepare as first
    from synthmill.storage.folder import Folder
    from synthmill.training.checker import Checker
    from synthmill.training.fit import fit
    from synthmill.training.parallel import Single
    from synthmill.training.reporter import Silent

    each, check = list[float](), Checker.check

    def timed(checker: Checker, *given: Any) -> None:
        started = time.process_time()
        check(checker, *given)
        each.append(time.process_time() - started)

    Checker.check = timed  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory(prefix="scale-", dir=task["folder"]) as store:
        prepared, run = first(recipe_of(task), store), Folder(store).child("run")
        index, tables = encode_rows(prepared, run), prepared.rows.tables

        def train(shards: Any) -> Any:
            return fit(
                prepared.recipe,
                tables.train,
                tables.validation,
                prepared.rows.codec,
                parallel=Single(),
                reporter=Silent(),
                shards=shards,
            )

        begun = time.process_time()
        if index is None:
            outcome = train(None)
        else:
            with opened_shards(shards_in(run), index) as shards:
                outcome = train(shards)
        used = time.process_time() - begun
    checks = sum(record["quality"]["check_seconds"] for record in outcome.history if "quality" in record)
    return {
        "step_ms": 1e3 * (outcome.seconds - checks) / outcome.steps,
        "cpu_ms": 1e3 * used / outcome.steps,
        "check_share": checks / outcome.seconds,
        # What the first one fits, the published weights need whenever they are checked.
        "first_check_cpu_ms": 1e3 * each[0],
        "later_check_cpu_ms": 1e3 * statistics.median(each[1:] or [0.0]),
        "later_check_share": sum(each[1:]) / used,
        "score": (outcome.best or {}).get("score"),
    }


def draws(task: dict[str, Any]) -> dict[str, Any]:
    """Microseconds of the processor for a batch of 500 rows, from shards and from the same rows in memory."""
    import torch

    from synthmill.data.scratch import opened_shards
    from synthmill.runtime.encode import encode_rows, shards_in
    from synthmill.runtime.prepare import prepare as first
    from synthmill.storage.folder import Folder
    from synthmill.training.rng import StepRng
    from synthmill.training.rows import InMemory
    from synthmill.training.sharded import Sharded

    cpu, whole, found = torch.device("cpu"), slice(0, 500), {}
    with tempfile.TemporaryDirectory(prefix="scale-", dir=task["folder"]) as store:
        prepared, run = first(recipe_of(task), store), Folder(store).child("run")
        index = encode_rows(prepared, run)
        assert index is not None, "the source was read whole"
        with opened_shards(shards_in(run), index) as shards:
            everything = shards.take(slice(0, shards.num_rows))
            for name, rows in (("shards", Sharded(shards, cpu)), ("memory", InMemory(everything, cpu))):
                epochs, by_category = rows.shuffled(500, 0), rows.by_category(index.layout)
                # More than a window of blocks, whose first batch mixes all of it.
                count, rng = 3000, StepRng(cpu, 0, 500, whole)
                begun = time.process_time()
                for number in range(count):
                    epochs.batch(number % (rows.num_rows // 500), whole)
                shuffled = time.process_time()
                for number in range(count):
                    by_category.batch(rng.at(number))
                found[f"{name}_shuffled_us"] = (shuffled - begun) / count * 1e6
                found[f"{name}_by_category_us"] = (time.process_time() - shuffled) / count * 1e6
    return found


def job(task: dict[str, Any]) -> dict[str, Any]:
    """`jobs/train.py` as a user runs it, and the memory of its processes."""
    words = [word for item in task["overrides"] for word in ("--set", item)]
    most = {"driver_anonymous_mib": 0.0, "worker_anonymous_mib": 0.0}
    with tempfile.TemporaryDirectory(prefix="scale-", dir=task["folder"]) as store:
        command = [sys.executable, str(harness.ROOT / "jobs/train.py"), "table", *words, "--store", store]
        with Popen(command, stdout=PIPE, text=True, cwd=harness.ROOT, env=dict(os.environ)) as running:
            assert running.stdout is not None
            lines: list[str] = []
            reader = threading.Thread(target=lambda: lines.extend(running.stdout or ()), daemon=True)
            reader.start()
            while running.poll() is None:
                seen = {running.pid: "driver_anonymous_mib"}
                for process in memory.descendants(running.pid):
                    if "TrainingWorker" in memory.command_of(process):
                        seen[process] = "worker_anonymous_mib"
                for process, name in seen.items():
                    most[name] = max(most[name], anonymous_mib(Path(f"/proc/{process}/status")))
                time.sleep(0.2)
            reader.join()
        if running.returncode:
            sys.exit("".join(lines[-5:]))
    return most


def overrides(options: argparse.Namespace, source: Path, stream: str) -> list[str]:
    return [
        "name=scale",
        f"data.source={source}",
        "data.target=plan",
        f"data.stream={stream}",
        f"model.name={options.model}",
        f"training.max_steps={options.steps}",
        f"training.threads={options.threads}",
        "training.device=cpu",
        "training.precision=fp32",
    ]


def columns_of_tasks(found: dict[str, Any]) -> dict[str, Any]:
    shown = {
        "s": "wall_s",
        "driver CPU s": "driver_cpu_seconds",
        "tasks CPU s": "tasks_cpu_seconds",
        "driver MiB": "driver_anonymous_mib",
        "task MiB": "task_anonymous_mib",
    }
    return {
        f"{number} tasks {name}": harness.median(runs, value)
        for number, runs in found.items()
        for name, value in shown.items()
    }


def main() -> None:
    parser = harness.parser(__doc__, "scale")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000])
    parser.add_argument("--folder", type=Path, required=True, help="for the files that are made, and shards")
    parser.add_argument("--model", default="ctgan")
    parser.add_argument("--steps", type=int, default=1100)
    parser.add_argument(
        "--most-in-memory", type=int, default=5_000_000, help="more rows are not loaded whole"
    )
    parser.add_argument("--tasks", type=int, nargs="+", default=[0, 1, 2], help="that scan at a time")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.set_defaults(repeats=3)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    cells = harness.Cells(options, "model", "steps", "threads")

    def child(part: str, source: Path, stream: str, **more: Any) -> dict[str, Any]:
        task = {
            "part": part,
            **more,
            "source": source,
            "folder": options.folder,
            "overrides": overrides(options, source, stream),
        }
        return harness.process([sys.executable, __file__, "--child"], task, options.threads)

    table = []
    for rows in options.rows:
        source = options.folder / f"{rows}.parquet"
        make(source, rows)
        row: dict[str, Any] = {"rows": f"{rows:,}"}
        plain = [cells.run(f"{rows}/read/0", lambda s=source: child("read", s, "never"))]
        if "prepare" in options.only:
            done = cells.run(f"{rows}/prepare", lambda s=source: child("prepare", s, "always"))
            plain.append(cells.run(f"{rows}/read/1", lambda s=source: child("read", s, "never")))
            p = statistics.mean(one["cpu_seconds"] for one in plain)
            row |= {
                "P s": p,
                "scan P": done["scan_cpu_seconds"] / p,
                "encode P": done["encode_cpu_seconds"] / p,
                "bytes a row": done["bytes_a_row"],
            }
        if "tasks" in options.only:
            ways = {
                str(n): (lambda s=source, n=n: child("tasks", s, "always", tasks=n)) for n in options.tasks
            }
            row |= columns_of_tasks(cells.alternate(f"{rows}/tasks", ways, options.repeats))
        if "draws" in options.only:
            found = cells.run(f"{rows}/draws", lambda s=source: child("draws", s, "always"))
            row |= {name: value for name, value in found.items() if name.endswith("_us")}
        if "job" in options.only:
            found = cells.run(f"{rows}/job", lambda s=source: child("job", s, "always"))
            row |= {"driver MiB": found["driver_anonymous_mib"], "worker MiB": found["worker_anonymous_mib"]}
        if "steps" in options.only:
            ways = {"shards": "always"} | ({"memory": "never"} if rows <= options.most_in_memory else {})
            contenders = {
                way: (lambda s=source, t=stream: child("steps", s, t)) for way, stream in ways.items()
            }
            for way, runs in cells.alternate(f"{rows}/steps", contenders, options.repeats).items():
                row |= {
                    f"{way} ms": harness.median(runs, "step_ms"),
                    f"{way} CPU ms": harness.median(runs, "cpu_ms"),
                    f"{way} checks": harness.median(runs, "check_share"),
                    f"{way} later checks": harness.median(runs, "later_check_share"),
                    f"{way} later check CPU ms": harness.median(runs, "later_check_cpu_ms"),
                }
        table.append(row)
    for row in table:
        print(f"\n{harness.table([row])}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        given = json.loads(Path(sys.argv[2]).read_text())
        Path(sys.argv[3]).write_text(json.dumps(globals()[given["part"]](given)))
    else:
        main()
