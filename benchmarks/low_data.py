#!/usr/bin/env python3
"""What synthetic rows add to few real ones, beside SMOTE, duplication and class weights.

    .venv/bin/python benchmarks/low_data.py --data adult.csv --engine /tmp/peers-engine/bin/python
    .venv/bin/python benchmarks/low_data.py --data adult.csv --table

5, 10 and 25% of the training rows, drawn at random by the seed, are all that there is: `model.name: auto`
learns from them, and a boosted classifier from them and the rows that were added. AUC and F1 (of the rarer
class, at .5) on the holdout of the full size. x1, x4: as many synthetic rows as there are real ones, and four
times as many. balanced: synthetic rows of the rarer class until there are as many of each, as SMOTE and
duplication do. How many are added was fixed before anything was measured.
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
import pyarrow.parquet as pq
from choice import read, sides
from scores import encoded
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score, roc_auc_score

TARGETS = {"adult": "income", "breast_cancer": "target"}
SHARES = (0.05, 0.1, 0.25)


def learnt(
    few: pd.DataFrame, added: pd.DataFrame | None, judge: pd.DataFrame, target: str, *, weights: bool = False
) -> dict[str, float]:
    rows = few if added is None else pd.concat([few, added[list(few.columns)]], ignore_index=True)
    rare = few[target].astype(str).value_counts().index[-1]
    features, asked = (encoded(few, some).drop(columns=target) for some in (rows, judge))
    model = HistGradientBoostingClassifier(
        categorical_features="from_dtype", random_state=0, class_weight="balanced" if weights else None
    ).fit(features, rows[target].astype(str) == rare)
    chance, truth = model.predict_proba(asked)[:, 1], judge[target].astype(str) == rare
    return {
        "auc": float(roc_auc_score(truth, chance)),
        "f1": float(f1_score(truth, chance > 0.5)),
        "rows": len(rows),
    }


def compare(table: str, share: float, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    target, given = TARGETS[table], sides(read(table, options), seed, dev=False)
    few = given.rows.sample(frac=share, random_state=seed).reset_index(drop=True)
    counts = few[target].astype(str).value_counts()
    rare, short = str(counts.index[-1]), int(counts.iloc[0] - counts.iloc[-1])
    rarer = few[few[target].astype(str) == rare]
    found = {
        "real rows": learnt(few, None, given.judge, target),
        "class weights": learnt(few, None, given.judge, target, weights=True),
        "duplication": learnt(few, rarer.sample(short, replace=True, random_state=seed), given.judge, target),
        "real rows, all of them": learnt(given.rows, None, given.judge, target),
    }
    with tempfile.TemporaryDirectory() as folder:
        train, made, level, smote = (
            Path(folder) / f"{name}.parquet" for name in ("train", "made", "level", "smote")
        )
        few.to_parquet(train)
        task = {"train": str(train), "seed": seed, "target": target}
        peer = harness.attempt(
            [str(options.engine), str(harness.HERE / "peer_tables.py")],
            {**task, "model": "smote", "synthetic": str(smote)},
            1,
            options.limit_minutes,
        )
        ours = harness.attempt(
            [sys.executable, str(harness.HERE / "tabular_ours.py")],
            {
                **task,
                "model": "auto",
                "synthetic": str(made),
                "rows": 4 * len(few),
                "where": [[[f"{target}={rare}"], short, str(level)]],
            },
            1,
            options.limit_minutes,
        )
        if "failed" not in peer:
            found["SMOTE"] = learnt(few, pq.read_table(smote).to_pandas(), given.judge, target)
        if "failed" not in ours:
            rows, balance = (pq.read_table(path).to_pandas() for path in (made, level))
            found["synthetic x1"] = learnt(few, rows.iloc[: len(few)], given.judge, target)
            found["synthetic x4"] = learnt(few, rows, given.judge, target)
            found["synthetic, balanced"] = learnt(few, balance, given.judge, target)
    return {"few": len(few), "by": found, "smote": peer, "model": ours}


def measure(options: argparse.Namespace) -> None:
    cells = harness.Cells(options, "data")
    for seed in options.seeds:
        for table in options.only:
            for share in SHARES:
                cells.run(
                    f"{table}/{share}/{seed}",
                    lambda table=table, share=share, seed=seed: compare(table, share, seed, options),
                )


def lines(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Means over seeds, and the mean gain on the real rows alone with half of its 95% interval."""
    from tabular import interval

    found: dict[tuple[str, str, str], list[tuple[dict[str, float], dict[str, float]]]] = {}
    for key, cell in json.loads(options.results.read_text())["cells"].items():
        table, share, _ = key.split("/")
        for name, figures in cell["by"].items():
            found.setdefault((table, share, name), []).append((figures, cell["by"]["real rows"]))
    for (table, share, name), each in found.items():
        line = {"table": table, "share": f"{float(share):.0%}", "learnt from": name, "seeds": len(each)}
        for figure in ("auc", "f1"):
            line[figure] = f"{np.mean([one[figure] for one, _ in each]):.3f}".removeprefix("0")
            line[f"{figure}, gain"] = interval([one[figure] - real[figure] for one, real in each], 3)
        yield line


def main() -> None:
    options = harness.parser(__doc__, "low_data")
    options.add_argument("--data", type=Path, required=True, help="adult.csv, with a header line")
    options.add_argument("--tables", type=Path, default=harness.HERE / "data" / "tables")
    options.add_argument("--engine", type=Path, default=harness.ROOT / ".venv-peers-engine/bin/python")
    options.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    options.add_argument("--only", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    options.add_argument("--limit-minutes", type=float, default=15.0)
    options.add_argument("--table", action="store_true", help="print what is measured, and stop")
    given = options.parse_args()
    if given.table:
        sys.stdout.write(harness.table(list(lines(given))) + "\n")
        return
    measure(given)


if __name__ == "__main__":
    main()
