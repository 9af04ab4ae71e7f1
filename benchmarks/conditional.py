#!/usr/bin/env python3
"""Rows of which some cells are known: completed and imputed by the contenders of tabular.py (which asks for
it with --conditional) and, here, imputed by scikit-learn.

    .venv/bin/python benchmarks/tabular.py --data adult.csv --conditional --only adult cells
    .venv/bin/python benchmarks/conditional.py --data adult.csv
    .venv/bin/python benchmarks/conditional.py --data adult.csv --table

All learn from the complete training rows; the rows that are filled are of the holdout. given: 1, 3 or 7
columns, drawn at random by the seed, are known, and a boosted classifier tells the completed rows from the
real rows with the same known cells. A row and its completion are in the same fold, or the classifier would
know one of them from training; 0.5 is ideal. missing: 10, 30 and 50% of the cells at random are filled; the
share of categories that are right, the root mean squared error of numbers in standard deviations of the
column, and the same C2ST. A draw is not the best guess: `mean` is the mean, or most frequent value, of DRAWS
draws.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import harness
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from choice import Sides, sides
from numpy.typing import NDArray
from scores import classifier, encoded
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

GIVEN = (1, 3, 7)
MISSING = (0.1, 0.3, 0.5)
ROWS = 2_000
"""Of the holdout that are filled."""
DRAWS, PEER_DRAWS, PEER_ROWS = 5, 1, 300
"""TabularARGN takes some 70 ms a row to impute, as each has gaps of its own: it fills a few rows, once."""
LEARN_ROWS = 5_000
"""Training rows that scikit-learn's imputers learn from at most: a regression for each level of each category
takes minutes with more."""
TABLES = ("adult", "cells")
Mask = NDArray[np.bool_]


def asked(given: Sides) -> pd.DataFrame:
    return given.judge.sample(min(ROWS, len(given.judge)), random_state=0).reset_index(drop=True)


def numeric(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column))


def numbers(column: pd.Series) -> NDArray[np.float64]:
    return pd.to_numeric(column, errors="coerce").to_numpy(float)


def known(rows: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """The known columns, of the rows that have cells in all of them: a cell that is missing is asked for."""
    order = np.random.default_rng((seed, 7)).permutation(len(rows.columns))[:count]
    return rows[[str(rows.columns[place]) for place in np.sort(order)]].dropna()


def hidden(rows: pd.DataFrame, share: float, seed: int) -> Mask:
    """Cells that are taken away: of those that are there."""
    drawn = np.random.default_rng((seed, round(100 * share))).random(rows.shape) < share
    return drawn & rows.notna().to_numpy()


def without(rows: pd.DataFrame, mask: Mask) -> pa.Table:
    """As an Arrow table: in a frame, integers that are missing would become floats."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    columns = [
        pa.array(
            column.to_pylist(), type=column.type, mask=mask[:, place] | rows.iloc[:, place].isna().to_numpy()
        )
        for place, column in enumerate(table.columns)
    ]
    return pa.table(columns, names=table.column_names)


def tasks(
    given: Sides, seed: int, folder: Path, *, draws: int, most: int = ROWS
) -> dict[str, list[list[str]]]:
    """What a process is asked to complete and to impute: files of rows, and of answers."""
    rows, complete, impute = asked(given), [], []
    for count in GIVEN:
        name, answer = folder / f"given-{count}.parquet", folder / f"completed-{count}.parquet"
        pq.write_table(pa.Table.from_pandas(known(rows, count, seed), preserve_index=False), name)
        complete.append([str(name), str(answer)])
    for share in MISSING:
        name = folder / f"missing-{share}.parquet"
        pq.write_table(without(rows, hidden(rows, share, seed)).slice(0, most), name)
        impute += [[str(name), str(folder / f"filled-{share}-{draw}.parquet")] for draw in range(draws)]
    return {"complete": complete, "impute": impute}


def figures(given: Sides, seed: int, folder: Path, *, draws: int, most: int = ROWS) -> dict[str, Any]:
    """Of the answers in `folder`."""
    rows, found = asked(given), {}
    for count in GIVEN:
        made = pq.read_table(folder / f"completed-{count}.parquet").to_pandas()
        there = known(rows, count, seed)
        real = rows.loc[there.index].reset_index(drop=True)
        same = [
            numbers(made[name]) == numbers(real[name])
            if numeric(rows[name])
            else (made[name] == real[name]).to_numpy()
            for name in there.columns
        ]
        found[f"given_{count}"] = {
            "c2st": paired_c2st(given.rows, real, made),
            # Whether what was given came back, in order.
            "kept": float(np.mean(same)),
        }
    for share in MISSING:
        mask, real = hidden(rows, share, seed)[:most], rows.iloc[:most]
        files = [folder / f"filled-{share}-{draw}.parquet" for draw in range(draws)]
        each = [pq.read_table(file).to_pandas()[list(rows.columns)] for file in files]
        found[f"missing_{share}"] = filled(given.rows, real, each[0], mask)
        if draws > 1:
            found[f"missing_{share}_mean"] = filled(given.rows, real, together(given.rows, each), mask)
    return found


def together(train: pd.DataFrame, each: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The mean of numbers, the most frequent category."""
    found = {}
    for name in train.columns:
        if numeric(train[name]):
            found[name] = np.mean([numbers(one[name]) for one in each], axis=0)
        else:
            codes, levels = pd.factorize(np.concatenate([one[name].astype(str) for one in each]))
            votes = np.zeros((len(each[0]), len(levels)), np.int64)
            np.add.at(votes, (np.tile(np.arange(len(votes)), len(each)), codes), 1)
            found[name] = np.asarray(levels)[votes.argmax(1)]
    return pd.DataFrame(found)


def filled(train: pd.DataFrame, rows: pd.DataFrame, made: pd.DataFrame, mask: Mask) -> dict[str, float]:
    right, errors = [], []
    for place, name in enumerate(rows.columns):
        where = mask[:, place]
        if numeric(train[name]):
            wrong = (numbers(made[name]) - numbers(rows[name]))[where]
            if train[name].std() > 0:
                errors.append(np.sqrt(np.mean(wrong**2)) / train[name].std())
        else:
            right.append((made[name][where].astype(str) == rows[name][where].astype(str)).mean())
    # Cells that were missing before are nobody's: as they were in both.
    made = made.copy()
    for name in rows.columns:
        gone = rows[name].isna()
        if gone.any():
            made[name] = made[name].astype(object).where(~gone, None)
    return {
        "right": float(np.mean(right)) if right else float("nan"),
        "rmse": float(np.mean(errors)) if errors else float("nan"),
        "c2st": paired_c2st(train, rows, made),
    }


def paired_c2st(train: pd.DataFrame, rows: pd.DataFrame, made: pd.DataFrame) -> float:
    """Of real rows and their completions, row by row."""
    both = pd.concat([rows, made[list(rows.columns)]], ignore_index=True)
    features, is_made = encoded(train, both), np.repeat([0, 1], len(rows))
    groups, aucs = np.tile(np.arange(len(rows)), 2), []
    for fit, test in GroupKFold(5, shuffle=True, random_state=0).split(features, is_made, groups):
        model = classifier(features).fit(features.iloc[fit], is_made[fit])
        aucs.append(roc_auc_score(is_made[test], model.predict_proba(features.iloc[test])[:, 1]))
    return float(np.mean(aucs))


class Columns:
    """A table as numbers: categories one-hot, or as codes; a missing category is a level, as a training row
    may well have none."""

    def __init__(self, train: pd.DataFrame) -> None:
        self.train = train
        self.levels = {
            name: list(train[name].astype(str).fillna("nan").value_counts().index)
            for name in train.columns
            if not numeric(train[name])
        }

    def codes(self, rows: pd.DataFrame, mask: Mask | None = None) -> NDArray[np.float64]:
        found = []
        for place, name in enumerate(rows.columns):
            if name in self.levels:
                places = {level: code for code, level in enumerate(self.levels[name])}
                column = rows[name].astype(str).fillna("nan").map(places).fillna(0).to_numpy(float)
            else:
                column = rows[name].fillna(self.train[name].mean()).to_numpy(float)
            if mask is not None:
                column = np.where(mask[:, place], np.nan, column)
            found.append(column)
        return np.column_stack(found)

    def back(self, codes: NDArray[np.float64]) -> pd.DataFrame:
        found = {}
        for place, name in enumerate(self.train.columns):
            column = codes[:, place]
            levels = self.levels.get(name)
            found[name] = column if levels is None else np.array(levels)[column.astype(int)]
        return pd.DataFrame(found)


def by_frequency(
    columns: Columns, train: pd.DataFrame, rows: pd.DataFrame, mask: Mask, seed: int
) -> pd.DataFrame:
    """The mean or the most frequent level: what is known of a column alone."""
    codes = columns.codes(rows, mask)
    middle = [0.0 if name in columns.levels else float(train[name].mean()) for name in columns.train.columns]
    return columns.back(np.where(np.isnan(codes), middle, codes))


def by_regression(
    columns: Columns, train: pd.DataFrame, rows: pd.DataFrame, mask: Mask, seed: int
) -> pd.DataFrame:
    """IterativeImputer as it comes (Bayesian ridge) over standardised numbers and one-hot categories."""

    def spread(codes: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = []
        for place, name in enumerate(train.columns):
            if name in columns.levels:
                wide = (codes[:, place, None] == np.arange(len(columns.levels[name]))).astype(float)
                parts.append(np.where(np.isnan(codes[:, place, None]), np.nan, wide))
            else:
                parts.append(((codes[:, place] - middle[place]) / scale[place])[:, None])
        return np.concatenate(parts, axis=1)

    learnt = columns.codes(train)
    middle, scale = learnt.mean(0), np.maximum(learnt.std(0), 1e-9)
    imputer = IterativeImputer(max_iter=3, random_state=seed).fit(spread(learnt))
    found = imputer.transform(spread(columns.codes(rows, mask)))
    out, first = columns.codes(rows), 0
    for place, name in enumerate(train.columns):
        width = len(columns.levels.get(name, [0]))
        part = found[:, first : first + width]
        guess = part.argmax(1) if name in columns.levels else part[:, 0] * scale[place] + middle[place]
        out[:, place], first = np.where(mask[:, place], guess, out[:, place]), first + width
    return columns.back(out)


def by_forests(
    columns: Columns, train: pd.DataFrame, rows: pd.DataFrame, mask: Mask, seed: int
) -> pd.DataFrame:
    """As missForest does (Stekhoven and Buehlmann 2012): a forest a column, a classifier for categories, in
    rounds; each is grown once, as the training rows are complete."""
    learnt, codes = columns.codes(train), columns.codes(rows, mask)
    start = [
        0.0 if name in columns.levels else learnt[:, place].mean() for place, name in enumerate(train.columns)
    ]
    out = np.where(np.isnan(codes), start, codes)
    forests = []
    for place, name in enumerate(train.columns):
        kind = ExtraTreesClassifier if name in columns.levels else ExtraTreesRegressor
        forest = kind(n_estimators=30, min_samples_leaf=3, n_jobs=1, random_state=seed)
        forests.append(forest.fit(np.delete(learnt, place, 1), learnt[:, place]))
    for _ in range(3):
        for place, forest in enumerate(forests):
            where = mask[:, place]
            if where.any():
                out[where, place] = forest.predict(np.delete(out[where], place, 1))
    return columns.back(out)


METHODS = {
    "mean or mode": by_frequency,
    "IterativeImputer": by_regression,
    "missForest-like": by_forests,
}


def impute(given: Sides, method: str, seed: int) -> dict[str, Any]:
    rows, used = asked(given), 0.0
    train = given.rows.sample(min(LEARN_ROWS, len(given.rows)), random_state=seed).reset_index(drop=True)
    columns, found = Columns(train), {}
    for share in MISSING:
        mask = hidden(rows, share, seed)
        started = time.process_time()
        made = METHODS[method](columns, train, rows, mask, seed)
        used += time.process_time() - started
        found[f"missing_{share}"] = filled(given.rows, rows, made, mask)
    return {**found, "cpu_seconds": used}


def measure(options: argparse.Namespace) -> None:
    from tabular import read

    cells = harness.Cells(options, "data")
    for seed in options.seeds:
        for table in options.only:
            given = sides(read(table, options), seed, dev=False)
            for method in METHODS:
                cells.run(
                    f"{table}/{method}/{seed}",
                    lambda given=given, method=method, seed=seed: impute(given, method, seed),
                )


def lines(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Means over seeds, with half of the 95% interval."""
    from tabular import interval

    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in (options.results, options.models):
        for key, each in json.loads(path.read_text())["cells"].items() if path.is_file() else ():
            table, contender, _ = key.split("/")
            if "missing_0.1" in each:
                found.setdefault((table, contender), []).append(each)
    for (table, contender), each in sorted(found.items()):
        for suffix in ("", "_mean"):
            if f"missing_0.1{suffix}" not in each[0]:
                continue
            line = {"table": table, "by": contender + suffix.replace("_", ", "), "seeds": len(each)}
            for count in GIVEN:
                values = [
                    one[f"given_{count}"]["c2st"] for one in each if f"given_{count}" in one and not suffix
                ]
                line[f"C2ST, {count} given"] = interval(values, 3)
            for share in MISSING:
                for figure in ("right", "rmse", "c2st"):
                    values = [one[f"missing_{share}{suffix}"][figure] for one in each]
                    line[f"{share:.0%} {figure}"] = interval(values, 3)
            yield line


def main() -> None:
    options = harness.parser(__doc__, "conditional")
    options.add_argument("--data", type=Path, required=True, help="adult.csv, with a header line")
    options.add_argument("--tables", type=Path, default=harness.HERE / "data" / "tables")
    options.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    options.add_argument("--only", nargs="*", default=list(TABLES), choices=TABLES)
    options.add_argument(
        "--models", type=Path, default=harness.HERE / "results" / "tabular.json", help="results of tabular.py"
    )
    options.add_argument("--table", action="store_true", help="print what is measured, and stop")
    given = options.parse_args()
    if given.table:
        sys.stdout.write(harness.table(list(lines(given))) + "\n")
        return
    measure(given)


if __name__ == "__main__":
    main()
