#!/usr/bin/env python3
"""How a training step, a check and the memory of a run grow with the columns of its table: milliseconds of
the processor and MiB, over the width of the encoded rows.

    .venv/bin/python benchmarks/wide.py --threads 1

Tables of 2,000 rows, two numbers to one category of five levels, all of which share a factor. `ratio`: the
step's time over encoded width, against the table of 200 columns; 1 is linear. Narrow tables pay for what a
step costs whatever its width, so a ratio against them flatters. Each cell has a process of its own.
"""

import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import harness
import numpy as np

MODELS = ("ctgan", "tvae", "autoregressive")
WIDTHS = (200, 50, 1000)
ROWS = 2_000
WARM_STEPS = 3


def table(columns: int) -> Any:
    """Rows whose columns share a factor."""
    import pyarrow as pa

    rng = np.random.default_rng(0)
    factor = rng.normal(size=ROWS)
    levels = np.array(["a", "b", "c", "d", "e"])
    made: dict[str, Any] = {}
    for number in range(columns):
        own = factor + rng.normal(size=ROWS)
        made[f"column {number}"] = own if number % 3 else levels[np.digitize(own, [-1.5, -0.5, 0.5, 1.5])]
    return pa.table(made)


def steps(task: dict[str, Any]) -> dict[str, Any]:
    """Steps of the loop on a fitted codec's rows, and one check."""
    import torch

    from synthmill.config import DataConfig, load_recipe
    from synthmill.data.codecs.base import codec_class
    from synthmill.models.base import model_class
    from synthmill.training.fit import fresh_model
    from synthmill.training.loop import Loop
    from synthmill.training.parallel import Single
    from synthmill.training.quality.base import quality_check
    from synthmill.training.reporter import Silent
    from synthmill.training.rows import InMemory
    from synthmill.training.run_state import RunState

    torch.set_num_threads(task["threads"])
    settings = ("training.global_batch_rows=250", "training.threads=1", "training.precision=fp32")
    recipe = load_recipe(
        "table", ("name=wide", "data.source=wide.parquet", f"model.name={task['model']}", *settings)
    )
    rows = table(task["columns"])
    codec = codec_class(model_class(task["model"]).encoding).fit(rows, DataConfig(source="-"))
    encoded = codec.encode(rows)
    model = fresh_model(recipe, codec.layout)
    cpu = torch.device("cpu")
    run = RunState(recipe.training, Single(cpu), Silent(), None, "")
    data = InMemory(encoded, cpu)
    with torch.no_grad():
        model.begin(data.batches())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loop = Loop(model, data, recipe.training, Single(cpu), run, check=None, most_threads=1)
    loop.start()
    took = []
    for _ in range(WARM_STEPS + task["steps"]):
        begun = time.process_time()
        loop.advance()
        took.append(time.process_time() - begun)
    trained = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    check = quality_check("table", codec, rows, rows.slice(0, 200), encoded, seed=0)
    assert check is not None
    averaged, begun = loop.averaged(), time.process_time()
    with torch.inference_mode():
        check(averaged)
    layout = codec.layout
    return {
        "encoded_width": sum(span.width for span in layout.discrete) + len(layout.numeric),
        "weights": sum(parameter.numel() for parameter in model.parameters()),
        "step_ms": 1e3 * statistics.median(took[WARM_STEPS:]),
        "check_ms": 1e3 * (time.process_time() - begun),
        "before_mib": before / 1024,
        "training_mib": trained / 1024,
        "most_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = harness.parser(__doc__, "wide")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--columns", nargs="+", type=int, default=WIDTHS)
    parser.add_argument("--steps", type=int, default=20, help="that are timed")
    parser.set_defaults(repeats=3)
    options = parser.parse_args()
    cells = harness.Cells(options, "threads", "steps")
    made = []
    for model in options.models:
        unit, command = 0.0, [sys.executable, __file__, "--child"]
        for columns in options.columns:
            task = {"model": model, "columns": columns, "steps": options.steps, "threads": options.threads}
            runs = [
                cells.run(
                    f"{model}/{columns}/{number}",
                    lambda task=task, command=command: harness.process(command, task, options.threads),
                )
                for number in range(options.repeats)
            ]
            each = harness.median(runs, "step_ms") / runs[0]["encoded_width"]
            unit = unit or each
            row: dict[str, Any] = {"model": model, "columns": columns, "width": runs[0]["encoded_width"]}
            names = ("step_ms", "check_ms", "before_mib", "training_mib", "most_mib")
            row |= {name: harness.median(runs, name) for name in names}
            made.append({**row, "us a step and unit of width": 1e3 * each, "ratio": each / unit})
    print(harness.table(made))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        given = json.loads(Path(sys.argv[2]).read_text())
        Path(sys.argv[3]).write_text(json.dumps(steps(given)))
    else:
        main()
