#!/usr/bin/env python3
"""CTGAN and TVAE on UCI adult, ours and the `ctgan` package in the same run: a step, preparation, quality,
time to its quality.

    .venv/bin/python benchmarks/ctgan_adult.py --data adult.csv

Both get the same 70% of the rows and nothing else; ours sets a tenth of them aside to choose its weights. The
other 30% are the holdout of TSTR. Missing categories are a category of their own for the peer and missing for
ours; both are scored as missing. Steps and preparation are medians of alternating runs; quality is the median
over seeds. A fit's seconds are told twice: as they passed, and as CPU time of all its threads, which a busy
machine changes less.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy as np
import pandas as pd
from scores import scores, tstr

TRAIN_SHARE = 0.7
BATCH_ROWS = 500
STEP_EPOCHS = 6
BUDGET_EPOCHS = (5, 10, 20, 40, 60, 80, 120, 160, 240, 300)
SECTIONS = ("prepare", "step", "quality", "time")
OURS = [str(harness.HERE / "ours.py")]
FIGURES = {"uni": 1, "bi": 1, "c2st": -1, "tstr": 1}
"""Figure -> whether larger (1) or smaller (-1) is better."""


class Run:
    """The rows, the options and the cells of one benchmark run."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.cells = harness.Cells(options, "data", "target", "threads", "epochs", "precision")
        table = pd.read_csv(options.data, skipinitialspace=True, na_values=["?"])
        order = np.random.default_rng(0).permutation(len(table))
        cut = int(TRAIN_SHARE * len(table))
        self.train, self.holdout = (
            table.iloc[np.sort(rows)].reset_index(drop=True) for rows in (order[:cut], order[cut:])
        )
        self.positive = options.positive or str(self.train[options.target].value_counts().index[-1])
        self.train.to_parquet(folder / "train.parquet")
        self.common = {
            "train": str(folder / "train.parquet"),
            "batch_rows": BATCH_ROWS,
            "target": options.target,
        }

    def peer(self, task: str, model: str, **more: Any) -> Callable[[], dict[str, Any]]:
        return lambda: harness.peer(self.options, task=task, model=model, **self.common, **more)

    def ours(self, task: str, model: str, **more: Any) -> Callable[[], dict[str, Any]]:
        given = {"task": task, "model": model, "threads": self.options.threads, **self.common, **more}
        return lambda: harness.process([sys.executable, *OURS], given, self.options.threads)

    def scored(
        self, key: str, fit: Callable[..., Callable[[], dict[str, Any]]], model: str, **more: Any
    ) -> dict[str, Any]:
        """Train, sample as many rows as there were, score."""

        def measure() -> dict[str, Any]:
            path = self.folder / "synthetic.parquet"
            told = fit("fit", model, rows=len(self.train), synthetic=str(path), **more)()
            made = pd.read_parquet(path)
            return {
                **told,
                **scores(self.train, self.holdout, made, target=self.options.target, positive=self.positive),
            }

        return self.cells.run(key, measure)


def prepare(run: Run) -> None:
    contenders = {"peer": run.peer("prepare", "ctgan"), "ours": run.ours("prepare", "ctgan")}
    runs = run.cells.alternate("prepare", contenders, run.options.repeats)
    seconds = {name: harness.median(found, "seconds") for name, found in runs.items()}
    report(
        "Preparation, seconds",
        [
            {
                "peer": seconds["peer"],
                "ours": seconds["ours"],
                "times faster": seconds["peer"] / seconds["ours"],
            }
        ],
    )


def step(run: Run) -> None:
    contenders = {
        "peer": run.peer("steps", "ctgan", epochs=STEP_EPOCHS),
        "ours-fp32": run.ours("steps", "ctgan", epochs=STEP_EPOCHS + 2, precision="fp32"),
        "ours-bf16": run.ours("steps", "ctgan", epochs=STEP_EPOCHS + 2, precision="bf16"),
    }
    runs = run.cells.alternate("step", contenders, run.options.repeats)
    took = {name: harness.median(found, "step_ms") for name, found in runs.items()}
    rows = [
        {"contender": name, "ms a step": ms, "share of the peer's": ms / took["peer"]}
        for name, ms in took.items()
    ]
    report(f"One CTGAN step, batch {BATCH_ROWS}, pac 10, {run.options.threads} threads", rows)


def quality(run: Run) -> None:
    rows, known = [ceiling(run)], contestants(run)
    seeds = range(run.options.seeds)
    found = {
        (name, seed): run.scored(
            f"quality/{name}/{seed}", fit, model, epochs=run.options.epochs, seed=seed, **more
        )
        for seed in seeds
        for name, (fit, model, more) in known.items()
    }
    for name in known:
        runs = [found[name, seed] for seed in seeds]
        times = {
            "fit s": harness.median(runs, "fit_seconds"),
            "fit CPU s": harness.median(runs, "fit_cpu_seconds"),
        }
        rows.append({"": name, **{figure: spread(runs, figure) for figure in (*FIGURES, "near")}, **times})
    report(
        f"Quality after {run.options.epochs} epochs, median over {run.options.seeds} seeds (least to most)",
        rows,
    )


def ceiling(run: Run) -> dict[str, Any]:
    """What real rows score: the holdout as if it were synthetic; for TSTR, training on the real training
    rows."""

    def measure() -> dict[str, Any]:
        target, positive = run.options.target, run.positive
        found = scores(run.train, run.holdout, run.holdout, target=target, positive=positive)
        return {**found, "tstr": tstr(run.train, run.holdout, run.train, target=target, positive=positive)}

    found = run.cells.run("quality/real", measure)
    return {
        "": "real rows",
        **{figure: f"{found[figure]:.3f}" for figure in (*FIGURES, "near")},
        "fit s": "-",
        "fit CPU s": "-",
    }


def contestants(
    run: Run,
) -> dict[str, tuple[Callable[..., Callable[[], dict[str, Any]]], str, dict[str, Any]]]:
    known: dict[str, tuple[Callable[..., Callable[[], dict[str, Any]]], str, dict[str, Any]]] = {
        "peer-ctgan": (run.peer, "ctgan", {}),
        "peer-tvae": (run.peer, "tvae", {}),
        "ours-ctgan-fp32": (run.ours, "ctgan", {"precision": "fp32"}),
        "ours-ctgan-bf16": (run.ours, "ctgan", {"precision": "bf16"}),
        "ours-tvae": (run.ours, "tvae", {"precision": "fp32"}),
        "ours-forest": (run.ours, "forest", {}),
        "ours-autoregressive": (run.ours, "autoregressive", {"precision": "fp32"}),
    }
    return {name: known[name] for name in run.options.contestants or known}


def time_to_quality(run: Run) -> None:
    """Whole runs of ours with ever larger budgets, each from the start, until every figure is as good as the
    peer's median."""
    peers = [
        run.scored(f"quality/peer-ctgan/{seed}", run.peer, "ctgan", epochs=run.options.epochs, seed=seed)
        for seed in range(run.options.seeds)
    ]
    times = {field: harness.median(peers, field) for field in ("fit_seconds", "fit_cpu_seconds")}
    wanted = {figure: harness.median(peers, figure) for figure in FIGURES}
    rows = []
    for model in run.options.models:
        for epochs in BUDGET_EPOCHS:
            key = f"time/{model}/{run.options.precision}/{epochs}"
            found = run.scored(key, run.ours, model, epochs=epochs, precision=run.options.precision)
            reached = all(sign * (found[figure] - wanted[figure]) >= 0 for figure, sign in FIGURES.items())
            figures = {figure: f"{found[figure]:.3f}" for figure in FIGURES}
            shares = {f"1/{field} of the peer's": times[field] / found[field] for field in times}
            spent = {field: found[field] for field in times}
            rows.append({"": f"{model}, {epochs} epochs", **figures, **spent, **shares, "reached": reached})
            if reached:
                break
    wanted_text = ", ".join(f"{figure} {value:.3f}" for figure, value in wanted.items())
    told = f"{times['fit_seconds']:.0f} s, {times['fit_cpu_seconds']:.0f} CPU s"
    report(f"Time to the peer's quality ({wanted_text}; {told})", rows)


def spread(runs: list[dict[str, Any]], figure: str) -> str:
    values = [run[figure] for run in runs]
    return f"{statistics.median(values):.3f}" + (
        f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
    )


def report(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{title}\n\n{harness.table(rows)}\n", flush=True)


def main() -> None:
    parser = harness.parser(__doc__, "ctgan_adult")
    parser.add_argument("--data", type=Path, required=True, help="adult.csv, with its header line")
    parser.add_argument("--target", default="income")
    parser.add_argument("--positive", help="the target's value that TSTR predicts; default: the rarest")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=("ctgan", "tvae"), help="of the time-to-quality runs")
    parser.add_argument("--contestants", nargs="+", help="of the quality section; default: all")
    parser.add_argument(
        "--precision", choices=("fp32", "bf16"), default="bf16", help="of the time-to-quality runs"
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    options = parser.parse_args()
    sections = dict(zip(SECTIONS, (prepare, step, quality, time_to_quality), strict=True))
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        run = Run(options, Path(folder))
        for name in options.only:
            sections[name](run)


if __name__ == "__main__":
    main()
