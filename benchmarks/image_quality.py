#!/usr/bin/env python3
"""How good each image model's images are: one cell for every model, data set and seed, trained and evaluated
in a process of its own.

    benchmarks/setup_peers.sh --mnist-only
    .venv/bin/python benchmarks/image_quality.py --datasets digits mnist5k
    .venv/bin/python benchmarks/image_quality.py --datasets fashion --fashion FOLDER_WITH_IDX_FILES

A cell trains the model with the budget below on the train split, publishes what the loop would publish (the
best checked weights), generates as many images as there are training ones (5,000 at most) and computes the
figures of `synthmill evaluate` against the holdout, with their real-vs-real references. A sheet of samples, a
row for each class, is written beside the results. `--table` prints what is there as Markdown, `--models`,
`--datasets` and `--seeds` choose cells, `--max-minutes` bounds the training of each. Cells are saved as they
are measured: a rerun goes on where the last ended.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import harness

SEED_OF_SAMPLES = 1
MOST_IMAGES = 5_000
METRICS = {
    "image.fd": "FD",
    "image.kid": "KID",
    "image.coverage": "coverage",
    "image.label_fidelity": "fidelity",
    "image.tstr_ratio": "TSTR/real",
    "privacy.pixel_copy_pvalue": "p pixels",
    "privacy.feature_copy_pvalue": "p features",
}
DATASETS = ("digits", "mnist5k", "fashion")
BUDGETS: dict[str, dict[str, dict[str, Any]]] = {
    "digits": {
        "mlp_gan": {"rows": 64, "steps": 5_000},
        "dcgan": {"rows": 64, "steps": 8_000},
        "wgan_gp": {"rows": 64, "steps": 5_000},
        "infogan": {"rows": 64, "steps": 8_000},
        "progressive_gan": {"rows": 64, "steps": 5_000},
        "style_gan": {"rows": 64, "steps": 6_000, "config": {"augment": [], "learning_rate": 4e-3}},
        "vae": {"rows": 64, "steps": 3_000},
        "beta_vae": {"rows": 64, "steps": 3_000},
        "vq_vae": {
            "rows": 64,
            "steps": 4_500,
            "config": {"codes": 32, "codes_share": 0.35, "prior_dropout": 0.5, "temperature": 0.9},
        },
    },
    "mnist5k": {
        "mlp_gan": {"rows": 128, "steps": 15_000, "config": {"learning_rate": 4e-4}},
        "dcgan": {"rows": 128, "steps": 6_000, "config": {"channels": 32}},
        "wgan_gp": {"rows": 64, "steps": 2_000},
        "infogan": {"rows": 128, "steps": 2_500, "config": {"channels": 32}},
        "progressive_gan": {"rows": 64, "steps": 4_000, "config": {"channels": 16, "most_channels": 64}},
        "style_gan": {
            "rows": 32,
            "steps": 9_000,
            "config": {"channels": 16, "most_channels": 64, "augment": [], "learning_rate": 4e-3},
        },
        "vae": {"rows": 128, "steps": 1_200},
        "beta_vae": {"rows": 128, "steps": 1_200},
        "vq_vae": {
            "rows": 64,
            "steps": 4_000,
            "config": {
                "channels": 32,
                "codes": 64,
                "codes_share": 0.3,
                "prior_dropout": 0.15,
                "temperature": 0.8,
            },
        },
    },
}
FASHION = {
    "mlp_gan": {"steps": 6_000, "config": {}},
    "dcgan": {"steps": 3_000},
    "wgan_gp": {"steps": 1_000},
    "infogan": {"steps": 2_500},
    "progressive_gan": {"steps": 1_600},
    "style_gan": {"steps": 4_000},
    "vae": {"steps": 1_200},
    "beta_vae": {"steps": 1_200},
    "vq_vae": {"steps": 1_200},
}
BUDGETS["fashion"] = {model: budget | FASHION[model] for model, budget in BUDGETS["mnist5k"].items()}
"""Rows of a batch, steps and what differs from the model's defaults, by data set and model."""


def cell(options: argparse.Namespace, dataset: str, model: str, seed: int) -> dict[str, Any]:
    budget = BUDGETS[dataset][model]
    recipe = {
        "name": f"{dataset}-{model.replace('_', '-')}",
        "data": {"source": source_of(options, dataset), "kind": "image", "target": "label"},
        "model": {"name": model, "config": budget.get("config", {}) | json.loads(options.config)},
        "training": {
            "seed": seed,
            "max_epochs": 1_000_000,
            "max_steps": options.steps or budget["steps"],
            "max_seconds": 60.0 * options.max_minutes if options.max_minutes else None,
            "global_batch_rows": budget["rows"],
            "threads": options.threads,
            "precision": options.precision,
            "device": "cpu",
        },
    }
    sheet = options.results.parent / options.results.stem / f"{dataset}-{model}-{seed}.png"
    task = {"recipe": recipe, "sheet": str(sheet.resolve()), "learner_seeds": options.learner_seeds}
    return harness.process([sys.executable, __file__, "--child"], task, options.threads)


def source_of(options: argparse.Namespace, dataset: str) -> str:
    if dataset == "digits":
        return "sklearn://digits"
    folder: Path | None = options.mnist if dataset == "mnist5k" else options.fashion
    if folder is None or not folder.is_dir():
        made = (
            "run benchmarks/setup_peers.sh --mnist-only"
            if dataset == "mnist5k"
            else "name a folder of its IDX files with --fashion"
        )
        sys.exit(f"no {dataset} at {folder}; {made}")
    return str(folder.resolve())


def child(task_path: str, result_path: str) -> None:
    """Read, split, train, generate, evaluate: what the jobs do, without Ray and a store."""
    from synthmill.config import Recipe, parse_model
    from synthmill.data.codecs.pixels import PixelCodec
    from synthmill.data.readers.base import read_source
    from synthmill.data.split import split_table
    from synthmill.evaluation import sheets
    from synthmill.evaluation.evidence.image import gather
    from synthmill.evaluation.tables import Tables
    from synthmill.generation.generator import Generator
    from synthmill.metrics.base import map_serially, metric_classes
    from synthmill.metrics.lib.image_evidence import ImageSettings
    from synthmill.training.fit import fit, fresh_model
    from synthmill.training.parallel import Single
    from synthmill.training.reporter import Silent

    task = json.loads(Path(task_path).read_text())
    recipe = parse_model(Recipe, task["recipe"])
    source = read_source(recipe.data)
    split = split_table(source.table, recipe.data.split, sha256=source.sha256)
    codec = PixelCodec.fit(split.train, recipe.data)
    started = time.process_time()
    outcome = fit(recipe, split.train, split.validation, codec, parallel=Single(), reporter=Silent())
    cpu_seconds = time.process_time() - started
    model = fresh_model(recipe, codec.layout)
    model.load_state_dict(outcome.state_dict)
    generator = Generator(model.eval(), codec, "benchmark@1", "", {})
    synthetic = generator.sample(min(MOST_IMAGES, split.train.num_rows), seed=SEED_OF_SAMPLES)
    tables = Tables(split.train, split.validation, split.holdout, synthetic)
    settings = ImageSettings(limit=MOST_IMAGES, learner_seeds=task["learner_seeds"])
    evidence = gather(tables, codec, settings, extractor="auto", map_tasks=map_serially)
    found = {name: metric_classes("image")[name]().compute(evidence) for name in METRICS}
    Path(task["sheet"]).parent.mkdir(parents=True, exist_ok=True)
    Path(task["sheet"]).write_bytes(sheets.samples(evidence))
    told = {
        "extractor": evidence.extractor.name,
        "steps": outcome.steps,
        "published_step": outcome.best["step"] if outcome.best else outcome.steps,
        "train_minutes": round(outcome.seconds / 60, 2),
        "train_cpu_minutes": round(cpu_seconds / 60, 2),
        "rows": {
            "train": split.train.num_rows,
            "holdout": split.holdout.num_rows,
            "synthetic": synthetic.num_rows,
        },
        "metrics": {
            METRICS[name]: {"value": result.value, "reference": result.reference}
            for name, result in found.items()
        },
        "tstr": {name: estimate.value for name, estimate in found["image.tstr_ratio"].aspects.items()},
    }
    Path(result_path).write_text(json.dumps(told))


def shown(cells: list[dict[str, Any]], dataset: str) -> str:
    """The cells of one data set: means over seeds, real-vs-real in the first line."""
    rows = []
    first = [entry for entry in cells if entry["dataset"] == dataset]
    if not first:
        return ""
    references = {
        name: statistics.mean(entry["metrics"][name]["reference"] for entry in first)
        for name in METRICS.values()
    }
    rows.append(
        {
            "model": "real images",
            "seeds": "-",
            **{name: spoken(value) for name, value in references.items()},
            "CPU minutes": "-",
        }
    )
    for model in sorted({entry["model"] for entry in first}):
        mine = [entry for entry in first if entry["model"] == model]
        figures = {
            name: spoken(statistics.mean(entry["metrics"][name]["value"] for entry in mine))
            for name in METRICS.values()
        }
        minutes = f"{statistics.mean(entry['train_cpu_minutes'] for entry in mine):.1f}"
        rows.append({"model": model, "seeds": len(mine), **figures, "CPU minutes": minutes})
    extractors = ", ".join(sorted({entry["extractor"] for entry in first}))
    return f"{dataset}, extractor {extractors}\n\n{harness.table(rows)}\n"


def spoken(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 0.1 else f"{value:.3f}"


def main() -> None:
    parser = harness.parser(__doc__, "image_quality")
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=["digits", "mnist5k"])
    parser.add_argument(
        "--models", nargs="+", choices=sorted(BUDGETS["digits"]), default=list(BUDGETS["digits"])
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--max-minutes", type=float, help="time limit of a cell's training; what it has by then is evaluated"
    )
    parser.add_argument("--steps", type=int, help="instead of the budget's, for trials")
    parser.add_argument(
        "--config", default="{}", help="JSON of model.config, for trials; needs --results of its own"
    )
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument(
        "--learner-seeds", type=int, default=1, help="classifiers trained for each TSTR figure"
    )
    parser.add_argument(
        "--mnist",
        type=Path,
        default=harness.HERE / "data" / "mnist5k",
        help="IDX files; setup_peers.sh writes them",
    )
    parser.add_argument("--fashion", type=Path, help="a folder with Fashion-MNIST's IDX files")
    parser.add_argument(
        "--table", action="store_true", help="print the table of what is there, measure nothing"
    )
    options = parser.parse_args()
    cells = harness.Cells(options, "max_minutes", "steps", "config", "precision", "learner_seeds")
    keys = [
        (dataset, seed, model)
        for seed in options.seeds
        for dataset in options.datasets
        for model in options.models
    ]
    measured = []
    for dataset, seed, model in keys:
        key = f"{dataset}/{model}/{seed}"
        if options.table and not cells.has(key):
            continue
        found = cells.run(key, lambda one=dataset, two=model, three=seed: cell(options, one, two, three))
        measured.append({"dataset": dataset, "model": model, **found})
    for dataset in options.datasets:
        print(shown(measured, dataset), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:4])
    else:
        main()
