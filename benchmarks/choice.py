#!/usr/bin/env python3
"""What `model.name: auto` rests on: forest, autoregressive, tvae and ctgan on tables of many shapes, one cell
a table, contender and seed.

    .venv-peers/bin/python benchmarks/export_tables.py benchmarks/data/tables
    .venv/bin/python benchmarks/choice.py --data adult.csv --threads 1 --seeds 1

A table's rows are divided 70 to 30 by the seed of the cell. With `--split dev` the 30% are left aside and the
70% divided once more: settings are chosen there, and the published figures never see what chose them. A tenth
of the rows that a model gets chooses its weights, as in ctgan_adult.py. `copies`: p of the near-copy test
that the quality gates use. With `--table`: what is there, as a Markdown table.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scores import accuracies, c2st, classifier, encoded, near
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import r2_score, roc_auc_score

TARGETS = {
    "wine": "target",
    "breast_cancer": "target",
    "digits": "target",
    "attrition": "Attrition",
    "hmda": "deny",
    "ames": "Sale_Price",
    "credit": "Status",
    "computers": "price",
    "adult_1000": "income",
    "adult_5000": "income",
    "adult": "income",
    "diamonds": "price",
}
"""Tables by rows, and what is predicted: a class, or a number."""
CONTENDERS: dict[str, dict[str, Any]] = {
    "forest": {"model": {"name": "forest"}},
    "autoregressive": {"model": {"name": "autoregressive"}},
    "tvae": {"model": {"name": "tvae"}},
    "ctgan": {"model": {"name": "ctgan"}},
    "auto": {"model": {"name": "auto"}},
}


@dataclass(frozen=True)
class Sides:
    """The rows that a model gets, and those that judge it."""

    rows: pd.DataFrame
    judge: pd.DataFrame


def read(name: str, options: argparse.Namespace) -> pd.DataFrame:
    """A table by its name, as a user would hand it over."""
    if name in ("wine", "breast_cancer", "digits"):
        bunch = getattr(datasets, f"load_{name}")(as_frame=True)
        frame = bunch.frame if bunch.frame is not None else bunch.data.assign(target=bunch.target)
        return frame.astype({"target": "str"})
    if name.startswith("adult"):
        table = pd.read_csv(options.data, skipinitialspace=True, na_values=["?"])
        _, _, rows = name.partition("_")
        return table.sample(round(int(rows) / 0.7), random_state=1) if rows else table
    return pd.read_csv(options.tables / f"{name}.csv")


def sides(frame: pd.DataFrame, seed: int, *, dev: bool) -> Sides:
    """70% and 30% of the rows; with `dev`, of the 70%."""
    for number in range(2 if dev else 1):
        order = np.random.default_rng((seed, number)).permutation(len(frame))
        cut = round(0.7 * len(frame))
        kept, aside = (frame.iloc[np.sort(rows)] for rows in (order[:cut], order[cut:]))
        frame = kept.reset_index(drop=True)
    return Sides(frame, aside.reset_index(drop=True))


def useful(train: pd.DataFrame, judge: pd.DataFrame, rows: pd.DataFrame, target: str) -> float:
    """What a model that is trained on `rows` reaches on `judge`: AUC of classes (the mean over classes, each
    against the others), R2 of numbers."""
    features = encoded(train, rows).drop(columns=target)
    asked = encoded(train, judge).drop(columns=target)
    if pd.api.types.is_numeric_dtype(train[target]):
        model = HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=0)
        answers = pd.to_numeric(rows[target], errors="coerce")
        known = answers.notna()
        return float(r2_score(judge[target], model.fit(features[known], answers[known]).predict(asked)))
    answers, truth = rows[target].astype(str), judge[target].astype(str)
    if answers.nunique() < 2:
        return 0.5
    model = classifier(features).fit(features, answers)
    chances = dict(zip(model.classes_, model.predict_proba(asked).T, strict=True))
    nothing: NDArray[np.float64] = np.zeros(len(truth))
    classes = [value for value in truth.unique() if 0 < (truth == value).sum() < len(truth)]
    aucs = [roc_auc_score(truth == value, chances.get(value, nothing)) for value in classes]
    return float(np.mean(aucs))


def copies(given: Sides, made: pd.DataFrame) -> float:
    """p of the near-copy test, NaN where there are too few rows for one; small: the rows lie nearer to those
    of training than new ones do."""
    import synthmill

    frames = [pa.Table.from_pandas(frame, preserve_index=False) for frame in (made, given.rows, given.judge)]
    report = synthmill.evaluate(frames[0], train=frames[1], holdout=frames[2], profile="quick")
    value = report.metrics["privacy.near_copy_pvalue"].value
    return float("nan") if value is None else float(value)


def fit(given: Sides, contender: str, target: str, seed: int, changes: list[str]) -> dict[str, Any]:
    """Train, sample as many rows as there were, score."""
    import torch

    import synthmill

    torch.set_num_threads(1)
    recipe = {
        "name": "benchmark",
        "data": {"source": "-", "target": target, "split": {"holdout": 0.0, "validation": 0.1, "seed": seed}},
        **CONTENDERS[contender],
        "training": {"seed": seed, "threads": 1, "device": "cpu"},
    }
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "rows.parquet"
        given.rows.to_parquet(source)
        recipe["data"]["source"] = str(source)
        used = harness.cpu_seconds()
        model = synthmill.fit(recipe, overrides=changes, progress=False)
        used = harness.cpu_seconds() - used
    made = model.sample(len(given.rows), seed=seed).to_pandas()
    made = made[list(given.rows.columns)]
    training = model.artifact.config["training"]
    return {
        **accuracies(given.rows, made),
        "c2st": c2st(given.rows, made),
        "tstr": useful(given.rows, given.judge, made, target),
        "near": near(given.rows, given.judge, made),
        "copies": copies(given, made),
        "fit_cpu_seconds": used,
        "steps": training["steps"],
        "published_step": (training["quality"] or {}).get("step"),
        "model": model.artifact.config["model"],
        "history": [record for record in model.artifact.history if "quality" in record],
    }


def real(given: Sides, target: str) -> dict[str, Any]:
    """What real rows reach: as many new ones as there are beside the training rows."""
    return {
        **accuracies(given.rows, given.judge),
        "c2st": c2st(given.rows, given.judge),
        "tstr": useful(given.rows, given.judge, given.rows, target),
    }


def measure(options: argparse.Namespace) -> None:
    cells = harness.Cells(options, "data", "threads", "split")
    for table in options.only or TARGETS:
        frame = read(table, options)
        for seed in range(options.seeds):
            given = sides(frame, seed, dev=options.split == "dev")
            target = TARGETS[table]
            cells.run(f"{table}/real/{seed}", lambda given=given, target=target: real(given, target))
            for contender in options.contenders:
                key = f"{table}/{options.label or contender}/{seed}"
                cells.run(
                    key,
                    lambda given=given, name=contender, target=target, seed=seed: {
                        "rows": len(given.rows),
                        "columns": given.rows.shape[1],
                        **fit(given, name, target, seed, options.set),
                    },
                )


def lines(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Medians over seeds."""
    import json

    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for key, cell in json.loads(options.results.read_text())["cells"].items():
        table, contender, _ = key.split("/")
        found.setdefault((table, contender), []).append(cell)
    for (table, contender), each in sorted(found.items(), key=lambda item: list(TARGETS).index(item[0][0])):
        figures = {"uni": 3, "bi": 3, "c2st": 3, "tstr": 3, "near": 3, "copies": 0, "fit_cpu_seconds": 1}
        shape = next((f" ({cell['rows']:,} x {cell['columns']})" for cell in each if "rows" in cell), "")
        found_here = {name: [cell[name] for cell in each if name in cell] for name in figures}
        yield {
            "table (rows x columns)": table + shape,
            "model": contender,
            **{
                name: _in_short(statistics.median(values), figures[name]) if values else "-"
                for name, values in found_here.items()
            },
        }


def _in_short(value: float, places: int) -> str:
    """`.917`; a probability with one digit that counts."""
    text = f"{value:.{places}f}" if places else f"{value:.1g}"
    return text.removeprefix("0") if text.startswith("0.") else text


def main() -> None:
    options = harness.parser(__doc__, "choice")
    options.add_argument("--data", type=Path, required=True, help="adult.csv, with a header line")
    options.add_argument("--tables", type=Path, default=harness.HERE / "data" / "tables")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--split", choices=("final", "dev"), default="final")
    options.add_argument("--only", nargs="*", choices=list(TARGETS))
    options.add_argument("--contenders", nargs="*", default=list(CONTENDERS)[:4], choices=list(CONTENDERS))
    options.add_argument("--set", nargs="*", default=[], help="recipe keys, key=value")
    options.add_argument("--label", help="what the cells of one contender with --set are called")
    options.add_argument("--table", action="store_true", help="print what is measured, and stop")
    given = options.parse_args()
    if given.table:
        sys.stdout.write(harness.table(list(lines(given))) + "\n")
        return
    measure(given)


if __name__ == "__main__":
    main()
