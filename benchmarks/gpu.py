#!/usr/bin/env python3
"""The parts of gpu.sh that measure: training speed of tables, and a small StyleGAN for two minutes. No Ray.

    .venv/bin/python benchmarks/gpu.py tables --device cuda --output results
    .venv/bin/python benchmarks/gpu.py style-gan --device cuda --output results --data FOLDER --seconds 120

`tables` trains `tvae` on made-up rows in this process: the loop as it is, on a GPU also with captured graphs,
and the plainest PyTorch loop over the same model, data, batch and precision (random rows, Adam, no average of
the weights). The arithmetic limit is the floating-point operations of a step, as torch counts them, at the
rate of one large matrix product. `style-gan` trains the recipe `fashion_style_gan` on IDX files in FOLDER;
without one, on scikit-learn's digits brought to 28x28.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from synthmill.config import DataConfig, TrainingConfig
from synthmill.data.batch import Batch
from synthmill.data.codecs.base import codec_class
from synthmill.models.base import GenerativeModel, build, model_class
from synthmill.training.loop import train
from synthmill.training.parallel import Single
from synthmill.training.reporter import Silent
from synthmill.training.rng import StepRng

ROWS, BATCH_ROWS = 50_000, 500
STEPS, QUICK_STEPS, WARM_STEPS = 2_000, 30, 20
PEAK_SIZE = 4_096
PEAK_SECONDS = 1.0


def made_up(rows: int) -> pa.Table:
    """As wide as Adult: six numbers, eight categories, a target that depends on both."""
    rng = np.random.default_rng(0)
    numbers = {f"n{i}": rng.gamma(1.0 + i, 2.0, rows).round(2) for i in range(6)}
    sizes = (2, 5, 7, 9, 14, 15, 41, 16)
    words = {f"c{i}": np.array([f"v{c}" for c in rng.integers(0, n, rows)]) for i, n in enumerate(sizes)}
    target = np.where(numbers["n1"] + 2 * (words["c1"] == "v1") > 5, "yes", "no")
    return pa.table({**numbers, **words, "target": target})


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def fresh(layout: Any, device: str) -> GenerativeModel:
    torch.manual_seed(0)
    return build("tvae", {}, layout).to(device)


def looped(layout: Any, data: Batch, steps: int, device: str, *, graphs: bool) -> float:
    """Rows a second of the training loop, without its first steps."""
    marks: list[float] = []

    def clock() -> bool:
        # A GPU runs behind; only the two marks that count may wait for it.
        if len(marks) + 1 in (WARM_STEPS, steps):
            wait(device)
        marks.append(time.perf_counter())
        return False

    config = TrainingConfig(
        global_batch_rows=BATCH_ROWS,
        max_steps=steps,
        max_epochs=1_000_000,
        precision="fp32",
        device="cuda" if device == "cuda" else "cpu",
        cuda_graphs=graphs,
    )
    model = fresh(layout, device)
    train(model, data, config, parallel=Single(device), reporter=Silent(), should_stop=clock)
    return (steps - WARM_STEPS) * BATCH_ROWS / (marks[-1] - marks[WARM_STEPS - 1])


def plain_step(model: GenerativeModel, data: Batch, device: str) -> Callable[[int], None]:
    """The step that somebody would write in a notebook: random rows, the model's loss, Adam."""
    (stage,) = model.stages()
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    rng = StepRng(device, 0, BATCH_ROWS, slice(0, BATCH_ROWS))

    def step(number: int) -> None:
        for phase in stage.phases:
            batch = data.take(torch.randint(0, data.num_rows, (BATCH_ROWS,), device=device))
            terms = model.loss(phase.name, batch, rng=rng.at(number, phase.name, 0), progress=0.0)
            loss = torch.stack([t.mean() for name, t in terms.items() if not name.startswith("log_")]).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()

    return step


def plain(layout: Any, data: Batch, steps: int, device: str) -> float:
    """Rows a second of the plain loop."""
    model = fresh(layout, device).train()
    step = plain_step(model, data, device)
    started = 0.0
    for number in range(steps):
        if number == WARM_STEPS:
            wait(device)
            started = time.perf_counter()
        step(number)
    wait(device)
    return (steps - WARM_STEPS) * BATCH_ROWS / (time.perf_counter() - started)


def limit(layout: Any, data: Batch, device: str) -> dict[str, float]:
    """What the arithmetic of a step allows."""
    from torch.utils.flop_counter import FlopCounterMode

    step = plain_step(fresh(layout, device).train(), data, device)
    with FlopCounterMode(display=False) as counter:
        step(0)
    left = torch.randn(PEAK_SIZE, PEAK_SIZE, device=device)
    right = left.clone()
    left @ right
    wait(device)
    products, started = 0, time.perf_counter()
    while time.perf_counter() - started < PEAK_SECONDS:
        left @ right
        wait(device)
        products += 1
    rate = products * 2 * PEAK_SIZE**3 / (time.perf_counter() - started)
    per_step = counter.get_total_flops()
    return {
        "step_gflop": per_step / 1e9,
        "peak_gflops": rate / 1e9,
        "rows_per_second": rate / per_step * BATCH_ROWS,
    }


def tables(options: argparse.Namespace) -> dict[str, Any]:
    table = made_up(2_000 if options.quick else ROWS)
    codec = codec_class(model_class("tvae").encoding).fit(table, DataConfig(source="-", kind="table"))
    data = codec.encode(table).to(options.device)
    steps = QUICK_STEPS if options.quick else STEPS
    told = {
        "loop": looped(codec.layout, data, steps, options.device, graphs=False),
        "plain": plain(codec.layout, data, steps, options.device),
    }
    if options.device == "cuda":
        told["loop with captured graphs"] = looped(codec.layout, data, steps, "cuda", graphs=True)
    most = limit(codec.layout, data, options.device)
    for name, rate in told.items():
        print(
            f"tvae, {name}: {rate:,.0f} rows/s, {rate / told['plain']:.2f}x of plain,"
            f" {rate / most['rows_per_second']:.1%} of the arithmetic limit"
        )
    return {"steps": steps, "rows_per_second": told, "limit": most}


def style_gan(options: argparse.Namespace) -> dict[str, Any]:
    import synthmill

    source: dict[str, Any] = {"data.source": str(options.data)}
    if options.data is None:
        source = {"data.source": "sklearn://digits", "data.image": {"size": 28}, "data.target": None}
    overrides = {
        **source,
        "training.device": options.device,
        "training.cuda_graphs": options.device == "cuda",
        "training.max_seconds": options.seconds,
        **(
            {"training.max_steps": 3, "model.config": {"channels": 8, "max_channels": 8}}
            if options.quick
            else {}
        ),
    }
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    model = synthmill.fit("fashion_style_gan", overrides=overrides, progress=False)
    whole = time.perf_counter() - started
    training = model.artifact.config["training"]
    rows = training["steps"] * model.recipe.training.global_batch_rows
    sampling = time.perf_counter()
    model.sample(64 if options.quick else 4_096, seed=0)
    told = {
        "data": str(options.data or "sklearn://digits at 28x28"),
        "steps": training["steps"],
        "seconds": training["seconds"],
        "whole_seconds": whole,
        "images_per_second": rows / training["seconds"],
        "quality": dict(model.quality),
        "sample_seconds_on_the_cpu": time.perf_counter() - sampling,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if options.device == "cuda" else None,
    }
    print(json.dumps(told, indent=1))
    return told


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["tables", "style-gan"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--output", type=Path, required=True, help="folder that gets PART.json")
    parser.add_argument("--data", type=Path, help="folder with Fashion-MNIST's IDX files")
    parser.add_argument("--seconds", type=float, default=120.0, help="of training, for style-gan")
    parser.add_argument("--quick", action="store_true", help="few steps: does it run at all?")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: this PyTorch sees no GPU")
    about = {
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "quick": options.quick,
    }
    told = {"tables": tables, "style-gan": style_gan}[options.part](options)
    assert "ray" not in sys.modules, "this must run where there is no Ray"
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"{options.part}.json").write_text(json.dumps({**about, **told}, indent=1) + "\n")


if __name__ == "__main__":
    main()
