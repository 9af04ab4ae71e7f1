"""The peer's side: CTGAN and TVAE of the `ctgan` package through their public interface, in an environment of
their own.

Called by harness.py as `python peer_ctgan.py TASK.json RESULT.json`; imports nothing of ours. Tasks:
`prepare` (all that precedes the first step), `steps` (time of a training step), `fit` (train, sample, write
the rows as Parquet), `generate` (rows per second).
"""

import io
import json
import re
import resource
import statistics
import sys
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ctgan import CTGAN, TVAE

MISSING = "?"
WARM_UP_EPOCHS = 2


class EpochClock(io.StringIO):
    """Stands in for standard error while a progress bar is drawn on it, and notes when each epoch was
    over."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, float] = {}

    def write(self, text: str) -> int:
        for number in re.findall(r"(\d+)/\d+ \[", text):
            self.seen.setdefault(int(number), time.perf_counter())
        return len(text)


def build(task: dict[str, Any], epochs: int, *, verbose: bool = False) -> Any:
    kind = {"ctgan": CTGAN, "tvae": TVAE}[task["model"]]
    torch.manual_seed(task.get("seed", 0))
    np.random.seed(task.get("seed", 0))
    return kind(epochs=epochs, batch_size=task["batch_rows"], enable_gpu=False, verbose=verbose)


def read(task: dict[str, Any]) -> tuple[pd.DataFrame, list[str]]:
    """The training rows, and which columns are discrete; missing categories become a category, as its users
    do it."""
    table = pd.read_parquet(task["train"])
    discrete = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    table[discrete] = table[discrete].astype(object).where(table[discrete].notna(), MISSING).astype(str)
    if table.isna().any().any():
        sys.exit("missing numbers: the peer takes none")
    return table, discrete


def prepare(task: dict[str, Any]) -> dict[str, Any]:
    table, discrete = read(task)
    started = time.perf_counter()
    build(task, 0).fit(table, discrete)
    return {"seconds": time.perf_counter() - started}


def steps(task: dict[str, Any]) -> dict[str, Any]:
    """Median over epochs, so that what precedes the first one does not count."""
    table, discrete = read(task)
    model, clock, before = (
        build(task, task["epochs"] + WARM_UP_EPOCHS, verbose=True),
        EpochClock(),
        sys.stderr,
    )
    sys.stderr = clock
    try:
        model.fit(table, discrete)
    finally:
        sys.stderr = before
    ends = [clock.seen[number] for number in sorted(clock.seen) if number >= WARM_UP_EPOCHS]
    if len(ends) < 2:
        sys.exit("no epochs were seen on the progress bar")
    per_epoch = len(table) // task["batch_rows"]
    spent = [(late - early) / per_epoch for early, late in pairwise(ends)]
    return {"step_ms": 1e3 * statistics.median(spent), "steps": per_epoch * len(spent)}


def fit(task: dict[str, Any]) -> dict[str, Any]:
    table, discrete = read(task)
    model = build(task, task["epochs"])
    started, used = time.perf_counter(), cpu_seconds()
    model.fit(table, discrete)
    fitted, used = time.perf_counter(), cpu_seconds() - used
    rows = model.sample(task["rows"])
    sampled = time.perf_counter()
    rows[discrete] = rows[discrete].astype(object).where(rows[discrete] != MISSING, None)
    rows.to_parquet(task["synthetic"])
    return {
        "fit_seconds": fitted - started,
        "fit_cpu_seconds": used,
        "rows_per_second": task["rows"] / (sampled - fitted),
    }


def generate(task: dict[str, Any]) -> dict[str, Any]:
    """Sampling and writing Parquet, in pieces that bound its memory."""
    table, discrete = read(task)
    model = build(task, 1)
    model.fit(table, discrete)
    started, left, part = time.perf_counter(), task["rows"], 0
    while left > 0:
        rows = min(left, task["piece_rows"])
        model.sample(rows).to_parquet(Path(task["folder"]) / f"part-{part:05d}.parquet")
        left, part = left - rows, part + 1
    return {"rows_per_second": task["rows"] / (time.perf_counter() - started)}


def cpu_seconds() -> float:
    """CPU time of all threads of this process and of those it waited for."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(task["threads"])
    work = {"prepare": prepare, "steps": steps, "fit": fit, "generate": generate}[task["task"]]
    result = {**work(task), "versions": {name: version(name) for name in ("ctgan", "torch", "pandas")}}
    Path(sys.argv[2]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
