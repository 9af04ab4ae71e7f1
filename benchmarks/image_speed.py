#!/usr/bin/env python3
"""Images per second: our training loop against the plainest PyTorch loop, and a million images to Parquet
against the bare model.

    .venv/bin/python benchmarks/image_speed.py                       # both, on MNIST-sized images
    .venv/bin/python benchmarks/image_speed.py --only train --models mlp_gan dcgan --repeats 5
    .venv/bin/python benchmarks/image_speed.py --only generate --images 1000000

Training: the same networks, data, batch, precision and average of the weights (every fourth step) on both
sides, in alternating processes; preparation and the first steps are left out. The plain loop draws from
torch's global generator, keeps its images as uint8 in memory, and uses `torch.optim.Adam` as it comes. The
arithmetic limit is the floating-point operations of a plain step, as
`torch.utils.flop_counter` counts them, at the rate of one large matrix product in the same precision. Data
are random bytes: their content costs no time. `--device cuda` is the same on a GPU, ours with captured graphs
(`training.cuda_graphs`).

Generating: one process with one thread does what one actor of `jobs/augment.py` does: shard, PNG files with
their labels, Parquet;
`bare` samples the same blocks and keeps nothing. The model has seen a few hundred batches of MNIST digits
(setup_peers.sh --mnist-only writes them), because how fast an image is packed depends on what it shows.
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

ROWS, SIDE, CLASSES = 3_500, 28, 10
WARM_STEPS = 20
DECAY, EVERY = 0.999, 4
TRAIN_STEPS = 400
PEAK_SIZE, PEAK_SECONDS = 2_048, 1.0


def layout() -> Any:
    from synthmill.data.layout import PixelLayout

    return PixelLayout(channels=1, height=SIDE, width=SIDE, classes=CLASSES, rows=ROWS, flip=False)


def model_of(task: dict[str, Any]) -> Any:
    import torch

    from synthmill.models.base import build

    torch.manual_seed(0)
    return build(task["model"], json.loads(task["config"]), layout())


def images() -> tuple[Any, Any]:
    import torch

    draws = torch.Generator().manual_seed(0)
    return (
        torch.randint(0, 256, (ROWS, 1, SIDE, SIDE), generator=draws, dtype=torch.uint8),
        torch.randint(0, CLASSES, (ROWS,), generator=draws),
    )


def ours(task: dict[str, Any]) -> dict[str, Any]:
    from synthmill.config import TrainingConfig
    from synthmill.data.batch import Batch
    from synthmill.training.loop import train
    from synthmill.training.parallel import Single
    from synthmill.training.reporter import Silent

    pixels, label = images()
    marks: list[float] = []

    def clock() -> bool:
        # Waits for the GPU at the two marks that count alone.
        if len(marks) + 1 in (WARM_STEPS, task["steps"]):
            wait(task)
        marks.append(time.perf_counter())
        return False

    cuda = task["device"] == "cuda"
    config = TrainingConfig(
        global_batch_rows=task["rows"],
        max_steps=task["steps"],
        max_epochs=1_000_000,
        precision=task["precision"],
        device=task["device"],
        cuda_graphs=cuda,
    )
    model, data = model_of(task).to(task["device"]), Batch(pixels=pixels, label=label).to(task["device"])
    train(model, data, config, parallel=Single(task["device"]), reporter=Silent(), should_stop=clock)
    seconds = marks[-1] - marks[WARM_STEPS - 1]
    return {"images_per_second": (task["steps"] - WARM_STEPS) * task["rows"] / seconds}


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def wait(task: dict[str, Any]) -> None:
    """Until the GPU has done what it was given."""
    import torch

    if task["device"] == "cuda":
        torch.cuda.synchronize()


def plain(task: dict[str, Any]) -> dict[str, Any]:
    """A GAN's training loop as a tutorial would write it."""
    import copy

    import torch
    from torch.nn import functional

    device = task["device"]
    model = model_of(task).to(device)
    judge_parts = [model.discriminator, *([model.head] if hasattr(model, "head") else [])]
    judge = [parameter for part in judge_parts for parameter in part.parameters()]
    settings: dict[str, Any] = {"lr": 2e-4, "betas": (0.5, 0.999)} | (
        {"fused": True} if task["fused"] else {}
    )
    judge_adam, maker_adam = (
        torch.optim.Adam(judge, **settings),
        torch.optim.Adam(model.generator.parameters(), **settings),
    )
    average = copy.deepcopy(model).requires_grad_(False)
    pixels, label = (tensor.to(device) for tensor in images())
    rows, noise = task["rows"], model.config.latent_dim
    bf16 = task["precision"] == "bf16"

    def score(x: Any, y: Any) -> Any:
        if not hasattr(model, "head"):
            return model.discriminator(torch.cat([x.flatten(1), y], 1)).float().squeeze(1)
        found = model.head(model.discriminator(x)).float()
        return found[:, 0] + (found[:, 1:] * y).sum(1)

    def step(index: Any) -> None:
        x = pixels[index].float() / 127.5 - 1.0
        y = functional.one_hot(label[index], CLASSES).float()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            fake = model.generator(torch.cat([torch.randn(rows, noise, device=device), y], 1))
            loss = (
                functional.softplus(-score(x, y)).mean() + functional.softplus(score(fake.detach(), y)).mean()
            )
        judge_adam.zero_grad()
        loss.backward()
        judge_adam.step()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            fake = model.generator(torch.cat([torch.randn(rows, noise, device=device), y], 1))
            loss = functional.softplus(-score(fake, y)).mean()
        maker_adam.zero_grad()
        loss.backward()
        maker_adam.step()

    done, order, started = 0, torch.empty(0, dtype=torch.int64), 0.0
    if task["count"]:
        return operations(task, lambda: step(torch.arange(rows, device=device)))
    while done < task["steps"]:
        if len(order) < rows:
            order = torch.randperm(ROWS, device=device)
        step(order[:rows])
        order, done = order[rows:], done + 1
        if done % EVERY == 0:
            with torch.no_grad():
                for mean, value in zip(average.parameters(), model.parameters(), strict=True):
                    mean.lerp_(value, 1.0 - DECAY**EVERY)
        if done == WARM_STEPS:
            wait(task)
            started = time.perf_counter()
    wait(task)
    return {"images_per_second": (done - WARM_STEPS) * rows / (time.perf_counter() - started)}


def operations(task: dict[str, Any], step: Any) -> dict[str, Any]:
    """Floating-point operations of a step, and of a second of one large matrix product."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        step()
    kind = torch.bfloat16 if task["precision"] == "bf16" else torch.float32
    left = torch.randn(PEAK_SIZE, PEAK_SIZE, device=task["device"]).to(kind)
    right = left.clone()
    left @ right
    wait(task)
    products, started = 0, time.perf_counter()
    while time.perf_counter() - started < PEAK_SECONDS:
        left @ right
        wait(task)
        products += 1
    rate = products * 2 * PEAK_SIZE**3 / (time.perf_counter() - started)
    return {"step_gflop": counter.get_total_flops() / 1e9, "peak_gflops": rate / 1e9}


def seen_digits(task: dict[str, Any]) -> Any:
    """A model that draws digits after a fashion."""
    from synthmill.config import DataConfig, TrainingConfig, parse_model
    from synthmill.data.codecs.pixels import PixelCodec
    from synthmill.data.readers.base import read_source
    from synthmill.training.loop import train
    from synthmill.training.parallel import Single
    from synthmill.training.reporter import Silent

    data = parse_model(DataConfig, {"source": task["mnist"], "kind": "image"})
    table = read_source(data).table
    config = TrainingConfig(
        global_batch_rows=task["rows"], max_steps=task["train_steps"], max_epochs=1_000_000, precision="fp32"
    )
    model = model_of(task)
    found = train(
        model, PixelCodec.fit(table, data).encode(table), config, parallel=Single(), reporter=Silent()
    )
    model.load_state_dict(found.state_dict)
    return model.eval()


def generate(task: dict[str, Any]) -> dict[str, Any]:
    """Shards to Parquet as an actor writes them, or the same blocks sampled and dropped."""
    from memory import resident_mib

    from synthmill.data.codecs.pixels import PixelCodec
    from synthmill.generation.generator import Generator
    from synthmill.generation.sampler import BLOCK_ROWS, one_thread
    from synthmill.generation.shards import ShardPlan
    from synthmill.storage.parquet import write_part

    codec = PixelCodec(layout(), tuple(range(CLASSES)))
    generator = Generator(seen_digits(task), codec, "benchmark@1", "", {})
    plan = ShardPlan(rows=task["images"], seed=7)
    resident, written = [], 0
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        generator.sampler.block(0, (0, 0, 0))
        started = time.perf_counter()
        for shard in plan.shards():
            if task["bare"]:
                with one_thread():
                    for block in range(-(-shard.rows // BLOCK_ROWS)):
                        generator.sampler.block(7, (shard.index, 0, block))
            else:
                table = generator.shard(plan, shard)
                path = Path(folder) / "part.parquet"
                written += write_part([table], table.schema, path, {}).bytes
                path.unlink()
            resident.append(resident_mib(os.getpid()))
        seconds = time.perf_counter() - started
    told = {"images_per_second": task["images"] / seconds, "bytes_per_image": written / task["images"]}
    return {**told, "mib_early": max(resident[: len(resident) // 4 + 1]), "mib_late": max(resident)}


def child(task_path: str, result_path: str) -> None:
    import torch

    task = json.loads(Path(task_path).read_text())
    torch.set_num_threads(task["threads"])
    measure = {"ours": ours, "plain": plain, "generate": generate}[task["what"]]
    Path(result_path).write_text(json.dumps(measure(task)))


def measured(options: argparse.Namespace, threads: int, what: str, **task: Any) -> dict[str, Any]:
    given = {
        "what": what,
        "threads": threads,
        "config": options.config,
        "steps": options.steps,
        "rows": options.batch_rows,
    }
    given |= {"device": options.device, **task}
    return harness.process([sys.executable, __file__, "--child"], given, threads)


def compare_training(options: argparse.Namespace, cells: harness.Cells, model: str, precision: str) -> None:
    def run(what: str, **task: Any) -> dict[str, Any]:
        return measured(
            options,
            options.threads,
            what,
            model=model,
            precision=precision,
            **{"fused": False, "count": False, **task},
        )

    contenders = {
        "ours": lambda: run("ours"),
        "plain": lambda: run("plain"),
        "plain-fused": lambda: run("plain", fused=True),
    }
    runs = cells.alternate(f"train/{model}/{precision}", contenders, options.repeats)
    about = cells.run(f"train/{model}/{precision}/operations", lambda: run("plain", count=True))
    limit = about["peak_gflops"] / about["step_gflop"] * options.batch_rows
    rate = {name: harness.median(found, "images_per_second") for name, found in runs.items()}
    rows = [
        {
            "": name,
            "images/s": f"{value:,.0f}",
            "of plain": f"{value / rate['plain']:.2f}x",
            "of the arithmetic limit": f"{value / limit:.0%}",
        }
        for name, value in rate.items()
    ]
    peak = (
        f"{about['step_gflop']:.2f} GFLOP a step at {about['peak_gflops']:.0f} GFLOP/s: {limit:,.0f} images/s"
    )
    print(
        f"\n{model}, {precision}, batches of {options.batch_rows}; {peak}\n\n{harness.table(rows)}\n",
        flush=True,
    )


def compare_generating(options: argparse.Namespace, cells: harness.Cells, model: str) -> None:
    def run(bare: bool) -> dict[str, Any]:
        told = {
            "images": options.images,
            "bare": bare,
            "mnist": str(options.mnist),
            "train_steps": TRAIN_STEPS,
        }
        return measured(options, 1, "generate", model=model, **told)

    whole = cells.run(f"generate/{model}/{options.images}/parquet", lambda: run(False))
    bare = cells.run(f"generate/{model}/{options.images}/bare", lambda: run(True))
    share = whole["images_per_second"] / bare["images_per_second"]
    print(
        f"\n{model}: {whole['images_per_second']:,.0f} images/s to Parquet, {bare['images_per_second']:,.0f}"
        f" from the bare model ({share:.0%}); {whole['bytes_per_image']:.0f} bytes an image;"
        f" {whole['mib_early']:.0f} MiB in the first quarter, {whole['mib_late']:.0f} MiB at most\n",
        flush=True,
    )


def main() -> None:
    parser = harness.parser(__doc__, "image_speed")
    parser.add_argument("--only", choices=["train", "generate"])
    parser.add_argument("--models", nargs="+", choices=["mlp_gan", "dcgan"], default=["mlp_gan", "dcgan"])
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where training is compared")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-rows", type=int, default=128)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument(
        "--mnist",
        type=Path,
        default=harness.HERE / "data" / "mnist5k",
        help="IDX files; setup_peers.sh writes them",
    )
    parser.add_argument("--config", default="{}", help="JSON of model.config")
    parser.add_argument(
        "--max-minutes", type=float, help="start no cell after so many minutes; a rerun goes on"
    )
    options = parser.parse_args()
    if options.device == "cuda" and not has_gpu():
        parser.error("--device cuda: this PyTorch sees no GPU")
    cells = harness.Cells(options, "threads", "steps", "batch_rows", "config", "device")
    cells.stop_after(options.max_minutes)
    for model in options.models:
        for precision in options.precision if options.only != "generate" else []:
            compare_training(options, cells, model, precision)
        if options.only != "train":
            compare_generating(options, cells, model)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:4])
    else:
        main()
