"""The peer's side of sequences.py: the sequential TabularARGN of mostlyai-engine through its public
interface, with its default settings, in an environment of its own.

Called as `python peer_sequences.py TASK.json RESULT.json`; imports nothing of ours. What all rows of a
sequence share is a table of its own, drawn first by a flat TabularARGN, as its documentation has it; the
order is learnt as differences.
"""

import json
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mostlyai.engine import TabularARGN


def main(task: dict[str, Any]) -> dict[str, Any]:
    key, order, static = task["key"], task["order"], task["static"]
    rows = pd.read_parquet(task["train"]).sort_values([key, order], kind="stable")
    shared = rows.groupby(key, sort=False)[static].first().reset_index()
    common = {"device": "cpu", "random_state": task["seed"]}
    with tempfile.TemporaryDirectory() as flat_folder, tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        flat = TabularARGN(workspace_dir=flat_folder, **common)
        flat.fit(shared[static])
        sequences = TabularARGN(
            workspace_dir=folder,
            tgt_context_key=key,
            ctx_data=shared,
            ctx_primary_key=key,
            tgt_encoding_types={order: "TABULAR_DATETIME_RELATIVE"},
            **common,
        )
        sequences.fit(rows.drop(columns=static))
        fitted = time.perf_counter()
        begun = flat.sample(n_samples=task["sequences"])
        begun[key] = [f"S-{number}" for number in np.arange(len(begun))]
        made = sequences.sample(ctx_data=begun).merge(begun, on=key)
        sampled = time.perf_counter()
    made[rows.columns].to_parquet(task["made"], index=False)
    return {
        "fit_seconds": round(fitted - started, 1),
        "rows_per_second": round(len(made) / (sampled - fitted)),
        "version": version("mostlyai-engine"),
    }


if __name__ == "__main__":
    told = main(json.loads(Path(sys.argv[1]).read_text()))
    Path(sys.argv[2]).write_text(json.dumps(told))
