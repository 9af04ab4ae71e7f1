"""Our side of tabular.py and conditional.py: one fit in a process of its own, as a user would do it.

Called by harness.py as `python tabular_ours.py TASK.json RESULT.json`, the counterpart of peer_tables.py. A
task says which rows to `train` on (Parquet), the `model`, how many `rows` to make and where to write them,
and may name rows to complete or to impute.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

# Imported before the clock starts, as the peers' packages are: the library imports what it needs when it is
# first used.
import synthmill
import synthmill.library.recipes
import synthmill.library.training
from synthmill.models.base import model_class


def run(task: dict[str, Any]) -> dict[str, Any]:
    recipe = {
        "name": "benchmark",
        "data": {
            "source": task["train"],
            "target": task.get("target"),
            "split": {"holdout": 0.0, "validation": 0.1, "seed": task["seed"]},
        },
        "model": {"name": task["model"], "config": task.get("config", {})},
        "training": {
            "seed": task["seed"],
            "threads": 1,
            "device": "cpu",
        },
    }
    for name in ("autoregressive", "forest", task["model"]):
        if name != "auto":
            model_class(name)
    passed, used = time.perf_counter(), cpu_seconds()
    model = synthmill.fit(recipe, overrides=task.get("set", []), progress=False)
    passed, used = time.perf_counter() - passed, cpu_seconds() - used
    found: dict[str, Any] = {
        "fit_seconds": passed,
        "fit_cpu_seconds": used,
        "fit_peak_mib": peak_mib(),
        "steps": model.artifact.config["training"]["steps"],
        "choice": model.artifact.config.get("choice"),
        "head": getattr(model.generator.model, "head", None) is not None,
    }
    if task.get("rows"):
        # The first call computes what later ones keep; a server pays it once.
        model.sample(1024, seed=1)
        passed, used = time.perf_counter(), cpu_seconds()
        made = model.sample(task["rows"], seed=task["seed"])
        passed, used = time.perf_counter() - passed, cpu_seconds() - used
        found |= {"rows_per_second": made.num_rows / passed, "rows_per_cpu_second": made.num_rows / used}
        pq.write_table(made, task["synthetic"])
    for clauses, rows, wanted in task.get("where", []):
        pq.write_table(model.sample(rows, where=clauses, seed=task["seed"] + 1), wanted)
    for name, work in (("complete", model.complete), ("impute", model.impute)):
        for number, (given, wanted) in enumerate(task.get(name, [])):
            used = cpu_seconds()
            rows = work(pq.read_table(given), seed=1000 * task["seed"] + number)
            found.setdefault(f"{name}_cpu_seconds", []).append(cpu_seconds() - used)
            pq.write_table(rows, wanted)
    return {**found, "peak_mib": peak_mib()}


def cpu_seconds() -> float:
    """CPU time of all threads of this process and of those it waited for."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def peak_mib() -> float:
    """The most memory this process has had, its libraries included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    Path(sys.argv[2]).write_text(json.dumps(run(task)))


if __name__ == "__main__":
    main()
