#!/usr/bin/env python3
"""A standard evaluation of a million synthetic rows against adult: seconds and memory, beside SDMetrics'
quality report.

    .venv/bin/python benchmarks/evaluation.py --data adult.csv

Ours is `jobs/evaluate.py`, run as a user runs it: Ray started and ended, every part read and verified, some
25 figures with intervals and real-vs-real references, the report stored. The peer reads the same Parquet
parts and the same training rows and gives its two scores. What the generator is worth does not matter here:
it is trained for a few hundred steps.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import harness
from memory import Memory

MODEL, DATASET = "tvae", "million"


def prepare(options: argparse.Namespace) -> Path:
    """A dataset of `--rows` rows in the benchmark's store; returns its folder."""
    folder = options.store / "datasets" / f"{DATASET}-{options.rows}" / "1"
    store = ["--store", str(options.store)]
    if not (options.store / "models" / MODEL / "1" / "_manifest.json").exists():
        given = [
            f"name={MODEL}",
            f"model.name={MODEL}",
            f"data.source={options.data.resolve()}",
            f"data.target={options.target}",
        ]
        words = [
            word for item in [*given, f"training.max_steps={options.train_steps}"] for word in ("--set", item)
        ]
        harness.job(["jobs/train.py", "table", *words, *store])
    if not (folder / "_manifest.json").exists():
        harness.job(
            [
                "jobs/augment.py",
                "--model",
                MODEL,
                "--rows",
                str(options.rows),
                "--dataset",
                f"{DATASET}-{options.rows}",
                *store,
            ]
        )
    return folder


def ours(options: argparse.Namespace, profile: str) -> dict[str, Any]:
    """`jobs/evaluate.py` from start to end; exit code 1 (a gate failed) is an answer like any other."""
    words = [
        "--dataset",
        f"{DATASET}-{options.rows}@1",
        "--profile",
        profile,
        "--gates",
        str(options.gates),
        "--store",
        str(options.store),
    ]
    with Memory({"driver": "jobs/evaluate.py", "task": "ray::_apply"}) as memory:
        told = harness.job(["jobs/evaluate.py", *words])
    report = json.loads((Path(told["uri"].removeprefix("file://")) / "report.json").read_text())
    given = sum(result["status"] == "ok" for result in report["metrics"].values())
    return {
        "job_seconds": told["wall_seconds"],
        "evaluation_seconds": report["timings"]["total"],
        "figures": given,
        "driver_mib": memory.most_mib("driver"),
        "task_mib": memory.most_mib("task"),
        "timings": report["timings"],
        "rows": report["inputs"]["synthetic_rows"],
        "column_shapes": report["metrics"].get("tabular.column_shapes", {}).get("value"),
    }


def peer(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """SDMetrics' quality report on the same rows, in the peers' environment."""
    if not options.peers.exists():
        sys.exit(
            f"{options.peers} is not there; run benchmarks/setup_peers.sh first, or name another with --peers"
        )
    task = {"train": str(options.data.resolve()), "synthetic": str(folder)}
    return harness.process(
        [str(options.peers), str(harness.HERE / "peer_sdmetrics.py")], task, options.threads
    )


def main() -> None:
    parser = harness.parser(__doc__, "evaluation")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--target", default="income")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--train-steps", type=int, default=500)
    parser.add_argument("--only", choices=("ours", "peer"), help="default: both, in turn")
    parser.add_argument(
        "--store", type=Path, help="where models and datasets of the benchmark go; default: benchmarks/store"
    )
    options = parser.parse_args()
    options.store = (options.store or harness.HERE / "store").resolve()
    cells = harness.Cells(options, "data", "target", "threads", "train_steps")
    folder = prepare(options)
    options.gates = options.store / "no_gates.yaml"
    options.gates.write_text("version: 1\ngates: []\n")
    contenders = {
        "quick": lambda: ours(options, "quick"),
        "standard": lambda: ours(options, "standard"),
        "sdmetrics": lambda: peer(options, folder),
    }
    wanted = {"ours": ("quick", "standard"), "peer": ("sdmetrics",), None: tuple(contenders)}[options.only]
    runs = cells.alternate(f"{options.rows}", {name: contenders[name] for name in wanted}, options.repeats)
    rows = [
        {
            "": name,
            "seconds, start to end": harness.median(found, "job_seconds"),
            "of them evaluating": harness.median(found, "evaluation_seconds"),
            "figures": found[0]["figures"],
            "MiB": ", ".join(
                f"{key.removesuffix('_mib')} {found[0][key]:.0f}"
                for key in ("driver_mib", "task_mib")
                if key in found[0]
            ),
        }
        for name, found in runs.items()
    ]
    print(f"\n{options.rows:,} rows, {options.threads} threads\n\n{harness.table(rows)}\n", flush=True)


if __name__ == "__main__":
    main()
