#!/usr/bin/env python3
"""What Ray Train costs: one worker of `jobs/train.py` against the same loop in a plain process, with the same
number of threads.

    .venv/bin/python benchmarks/train_overhead.py --data adult.csv

Compares the loop's own time a step (checks and checkpoints included on both sides), medians of alternating
runs; start-up is reported beside it.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness


def overrides(options: argparse.Namespace) -> tuple[str, ...]:
    return (
        "name=overhead",
        f"data.source={options.data.resolve()}",
        f"data.target={options.target}",
        f"model.name={options.model}",
        f"training.max_steps={options.steps}",
        f"training.threads={options.threads}",
        "training.device=cpu",
        "training.resume=never",
    )


def with_ray(options: argparse.Namespace) -> dict[str, Any]:
    """The job as a user runs it, in a store of its own."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as store:
        words = [word for item in overrides(options) for word in ("--set", item)]
        told = harness.job(["jobs/train.py", "table", *words, "--store", store], options.threads)
        config = json.loads((Path(told["uri"].removeprefix("file://")) / "config.json").read_text())
    return {**timing(config["training"]), "job_seconds": told["wall_seconds"]}


def without_ray(options: argparse.Namespace) -> dict[str, Any]:
    started = time.perf_counter()
    task = {"overrides": overrides(options)}
    told = harness.process([sys.executable, __file__, "--child"], task, options.threads)
    return {**timing(told), "job_seconds": time.perf_counter() - started}


def timing(training: dict[str, Any]) -> dict[str, Any]:
    return {"step_ms": 1e3 * training["seconds"] / training["steps"], "steps": training["steps"]}


def child(task_path: str, result_path: str) -> None:
    """The same reading, splitting, encoding and loop as the job's, with checkpoints, without Ray."""
    from synthmill.config import load_recipe
    from synthmill.runtime.prepare import prepare
    from synthmill.storage.folder import Folder
    from synthmill.training.checkpoint import Checkpoints
    from synthmill.training.fit import fit
    from synthmill.training.parallel import Single
    from synthmill.training.reporter import Silent

    task = json.loads(Path(task_path).read_text())
    with tempfile.TemporaryDirectory(prefix="benchmark-") as store:
        job = prepare(load_recipe("table", tuple(task["overrides"])), store)
        checkpoints = Checkpoints(Folder(store).child("checkpoints"))
        tables = job.rows.tables
        outcome = fit(
            job.recipe,
            tables.train,
            tables.validation,
            job.rows.codec,
            parallel=Single(),
            reporter=Silent(),
            checkpoints=checkpoints,
        )
    Path(result_path).write_text(json.dumps({"steps": outcome.steps, "seconds": outcome.seconds}))


def main() -> None:
    parser = harness.parser(__doc__, "train_overhead")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--target", default="income")
    parser.add_argument("--model", default="ctgan")
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    cells = harness.Cells(options, "data", "target", "steps")
    contenders = {"plain": lambda: without_ray(options), "ray": lambda: with_ray(options)}
    runs = cells.alternate(f"{options.model}/{options.threads}", contenders, options.repeats)
    took = {name: harness.median(found, "step_ms") for name, found in runs.items()}
    rows = [
        {
            "": name,
            "ms a step": ms,
            "over plain": f"{ms / took['plain'] - 1:+.1%}",
            "whole job s": harness.median(runs[name], "job_seconds"),
        }
        for name, ms in took.items()
    ]
    print(f"\n{options.model}, {options.steps} steps, {options.threads} threads\n\n{harness.table(rows)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:4])
    else:
        main()
