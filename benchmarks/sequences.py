"""Sequences: how near generated ones come to held-out ones, and how fast they are learnt and generated.

    PYTHONPATH=platform:tests .venv/bin/python benchmarks/sequences.py --sequences 3000
    PYTHONPATH=platform:tests .venv/bin/python benchmarks/sequences.py --engine /tmp/peers-engine/bin/python

The source is the generated one of `tests/visits.py`, whose autocorrelation and transitions are known. With
`--engine`, the Python of an environment that has mostlyai-engine, its sequential model learns the same rows
in the same run. Figures compare with held-out sequences; beside each is that of train against held-out ones.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import synthmill
from visits import AUTOCORRELATION, MOVES, autocorrelation, moves, visits

KEYS = {"group_by": "customer", "order_by": "when"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=3000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--engine", type=Path, help="the Python of an environment with mostlyai-engine")
    given = parser.parse_args()
    for seed in given.seeds:
        train, holdout = visits(given.sequences, seed + 1), visits(given.sequences, seed + 2)
        for name in ("ours", *(["mostlyai-engine"] if given.engine else [])):
            made, told = ours(train, given, seed) if name == "ours" else peers(train, given, seed)
            about = {"name": name, "seed": seed, "sequences": given.sequences, "rows": train.num_rows}
            print(json.dumps({**about, **told, **figures(made, train, holdout)}, indent=1), flush=True)


def ours(train: pa.Table, given: argparse.Namespace, seed: int) -> tuple[pa.Table, dict[str, Any]]:
    """Generated rows, and what they took."""
    started = time.perf_counter()
    model = synthmill.fit(train, **KEYS, overrides={"training.seed": seed}, progress=False)
    fitted = time.perf_counter()
    made = model.sample(sequences=given.sequences, seed=seed)
    sampled = time.perf_counter()
    return made, {
        "fit_seconds": round(fitted - started, 1),
        "rows_per_second": round(made.num_rows / (sampled - fitted)),
    }


def peers(train: pa.Table, given: argparse.Namespace, seed: int) -> tuple[pa.Table, dict[str, Any]]:
    """The same of the peer."""
    with tempfile.TemporaryDirectory() as folder:
        at = {name: str(Path(folder) / name) for name in ("train", "made", "task.json", "result.json")}
        pq.write_table(train, at["train"])
        task = {
            "train": at["train"],
            "made": at["made"],
            "key": KEYS["group_by"],
            "order": KEYS["order_by"],
            "static": ["plan", "joined"],
            "sequences": given.sequences,
            "seed": seed,
        }
        Path(at["task.json"]).write_text(json.dumps(task))
        script = str(Path(__file__).with_name("peer_sequences.py"))
        subprocess.run([given.engine, script, at["task.json"], at["result.json"]], check=True)
        return pq.read_table(at["made"]), json.loads(Path(at["result.json"]).read_text())


def figures(made: pa.Table, train: pa.Table, holdout: pa.Table) -> dict[str, Any]:
    """The figures of sequences, and errors of what is known of the source."""
    report = synthmill.evaluate(made, train=train, holdout=holdout, **KEYS)
    told = {
        name: {"value": round(found.value, 4), "reference": found.reference}
        for name, found in report.metrics.items()
        if name.startswith("sequence.") and found.value is not None
    }
    return {
        "autocorrelation": [round(autocorrelation(made, lag=lag), 3) for lag in (1, 2, 3)],
        "stated_autocorrelation": [round(AUTOCORRELATION**lag, 3) for lag in (1, 2, 3)],
        "largest_error_of_a_transition": round(float(abs(moves(made) - MOVES).max()), 3),
        **told,
    }


if __name__ == "__main__":
    main()
