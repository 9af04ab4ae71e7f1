#!/usr/bin/env python3
"""What more rows and more columns cost: CPU seconds of a fit, rows per second, memory; one thread.

    .venv/bin/python benchmarks/tabular_cost.py --data adult.csv
    .venv/bin/python benchmarks/tabular_cost.py --data adult.csv --table

rows: adult's training rows, drawn with replacement 10 and 100 times (so quality says nothing here). columns:
WIDE_ROWS rows of adult's columns, each shuffled by itself, repeated until there are as many. `autoregressive`
is trained for one pass over the rows, which is what grows with them; `--passes` gives it more.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness
import numpy as np
import pandas as pd
from choice import read, sides

SIZES = ("rows 1x", "rows 10x", "rows 100x", "columns 15", "columns 200", "columns 1000")
WIDE_ROWS = 5_000
MODELS = ("forest", "autoregressive")
MADE_ROWS = 10_000


def table(size: str, options: argparse.Namespace) -> pd.DataFrame:
    rows = sides(read("adult", options), 0, dev=False).rows
    kind, _, amount = size.partition(" ")
    if kind == "rows":
        times = int(amount.removesuffix("x"))
        return rows if times == 1 else rows.sample(times * len(rows), replace=True, random_state=0)
    rng, names = np.random.default_rng(0), list(rows.columns)
    few = rows.sample(WIDE_ROWS, random_state=0)
    return pd.DataFrame(
        {
            f"{names[place % len(names)]} {place}": few[names[place % len(names)]].to_numpy()[
                rng.permutation(WIDE_ROWS)
            ]
            for place in range(int(amount))
        }
    )


def cost(size: str, model: str, options: argparse.Namespace) -> dict[str, Any]:
    rows = table(size, options)
    with tempfile.TemporaryDirectory() as folder:
        train = Path(folder) / "train.parquet"
        rows.to_parquet(train, index=False)
        task = {
            "train": str(train),
            "synthetic": str(Path(folder) / "synthetic.parquet"),
            "rows": MADE_ROWS,
            "seed": 0,
            "target": "income" if "income" in rows else "income 14",
            "model": model,
            "set": [f"training.max_epochs={options.passes}"] if model == "autoregressive" else [],
        }
        command = [sys.executable, str(harness.HERE / "tabular_ours.py")]
        found = harness.attempt(command, task, 1, options.limit_minutes)
    return {"rows": len(rows), "columns": rows.shape[1], **found}


def lines(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for key, cell in json.loads(options.results.read_text())["cells"].items():
        size, model = key.split("/")
        yield {
            "model": model,
            "table": f"{size} ({cell['rows']:,} x {cell['columns']:,})",
            "fit CPU s": f"{cell['fit_cpu_seconds']:.1f}" if "fit_cpu_seconds" in cell else cell["failed"],
            "rows/s of a CPU second": f"{cell.get('rows_per_cpu_second', 0):,.0f}",
            "peak MiB, fit": f"{cell.get('fit_peak_mib', 0):,.0f}",
            "peak MiB": f"{cell.get('peak_mib', 0):,.0f}",
        }


def main() -> None:
    options = harness.parser(__doc__, "tabular_cost")
    options.add_argument("--data", type=Path, required=True, help="adult.csv, with a header line")
    options.add_argument("--only", nargs="*", default=list(SIZES), choices=SIZES)
    options.add_argument("--models", nargs="*", default=list(MODELS), choices=MODELS)
    options.add_argument("--passes", type=int, default=1)
    options.add_argument("--limit-minutes", type=float, default=15.0)
    options.add_argument("--table", action="store_true", help="print what is measured, and stop")
    given = options.parse_args()
    if given.table:
        sys.stdout.write(harness.table(list(lines(given))) + "\n")
        return
    cells = harness.Cells(given, "data", "passes")
    for size in given.only:
        for model in given.models:
            cells.run(f"{size}/{model}", lambda size=size, model=model: cost(size, model, given))


if __name__ == "__main__":
    main()
