"""Our side of a comparison, task by task the counterpart of peer_ctgan.py: a process of its own, with the
same threads and rows.

Called by harness.py as `python ours.py TASK.json RESULT.json`.
"""

import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from synthmill.config import Recipe, parse_model
from synthmill.data.codecs.base import codec_class
from synthmill.generation.generator import Generator
from synthmill.models.base import build, model_class
from synthmill.training import fit as fitting
from synthmill.training.fit import fresh_model
from synthmill.training.loop import train
from synthmill.training.parallel import Single
from synthmill.training.reporter import Record, Silent

VALIDATION_SHARE = 0.1


class StepClock:
    """Takes the loop's records and notes when each came."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def log(self, record: Record) -> None:
        if "step" in record and "quality" not in record:
            self.seen.append((int(record["step"]), time.perf_counter()))


def recipe(task: dict[str, Any]) -> Recipe:
    training = {
        "seed": task.get("seed", 0),
        "max_epochs": task.get("epochs", 300),
        "max_seconds": task.get("max_seconds"),
        "global_batch_rows": task["batch_rows"],
        "precision": task.get("precision", "fp32"),
        "threads": task["threads"],
        "device": "cpu",
    }
    data = {"source": task["train"], "target": task.get("target")}
    return parse_model(
        Recipe, {"name": "benchmark", "data": data, "model": {"name": task["model"]}, "training": training}
    )


def prepare(task: dict[str, Any]) -> dict[str, Any]:
    """Fitting the codec and encoding every row: all that precedes the first step, as for the peer."""
    table, given = pq.read_table(task["train"]), recipe(task)
    started = time.perf_counter()
    codec = codec_class(model_class(given.model.name).encoding).fit(table, given.data)
    data = codec.encode(table)
    fresh_model(given, codec.layout)
    return {"seconds": time.perf_counter() - started, "rows": data.num_rows}


def steps(task: dict[str, Any]) -> dict[str, Any]:
    """Median over epochs; no checks and no checkpoints, as for the peer."""
    table, given, clock = pq.read_table(task["train"]), recipe(task), StepClock()
    codec = codec_class(model_class(given.model.name).encoding).fit(table, given.data)
    train(
        fresh_model(given, codec.layout),
        codec.encode(table),
        given.training,
        parallel=Single(),
        reporter=clock,
    )
    spent = [
        (late - early) / (last - first)
        for (first, early), (last, late) in zip(clock.seen[1:], clock.seen[2:], strict=False)
    ]
    return {"step_ms": 1e3 * statistics.median(spent), "steps": clock.seen[-1][0] - clock.seen[1][0]}


def fit(task: dict[str, Any]) -> dict[str, Any]:
    """Everything from the rows to the published weights; a tenth of the training rows is set aside to choose
    them."""
    table, given = pq.read_table(task["train"]), recipe(task)
    started, used = time.perf_counter(), cpu_seconds()
    order = np.random.default_rng(task.get("seed", 0)).permutation(table.num_rows)
    aside = round(VALIDATION_SHARE * table.num_rows)
    validation, rows = table.take(pa.array(order[:aside])), table.take(pa.array(np.sort(order[aside:])))
    codec = codec_class(model_class(given.model.name).encoding).fit(rows, given.data)
    outcome = fitting.fit(given, rows, validation, codec, parallel=Single(), reporter=Silent())
    fitted, used = time.perf_counter(), cpu_seconds() - used
    model = build(given.model.name, given.model.config, codec.layout)
    model.load_state_dict(outcome.state_dict)
    model.eval()
    made = Generator(model, codec, "benchmark@1", "", {}).sample(task["rows"], seed=task.get("seed", 0))
    sampled = time.perf_counter()
    pq.write_table(made, task["synthetic"])
    return {
        "fit_seconds": fitted - started,
        "fit_cpu_seconds": used,
        "rows_per_second": task["rows"] / (sampled - fitted),
        "steps": outcome.steps,
        "score": (outcome.best or {}).get("score"),
    }


def cpu_seconds() -> float:
    """CPU time of all threads of this process and of those it waited for."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(task["threads"])
    work = {"prepare": prepare, "steps": steps, "fit": fit}[task["task"]]
    Path(sys.argv[2]).write_text(json.dumps(work(task)))


if __name__ == "__main__":
    main()
