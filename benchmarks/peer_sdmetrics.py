"""The peer's side of evaluation.py: SDMetrics' quality report through its public interface, in an environment
of its own.

Called by harness.py as `python peer_sdmetrics.py TASK.json RESULT.json`; imports nothing of ours.
"""

import json
import resource
import sys
import time
from pathlib import Path

START = time.perf_counter()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sdmetrics.reports.single_table import QualityReport  # noqa: E402

TRAIN_SHARE = 0.7


def main(task_path: str, result_path: str) -> None:
    task = json.loads(Path(task_path).read_text())
    real = pd.read_csv(task["train"], skipinitialspace=True, na_values=["?"])
    real = real.take(np.random.default_rng(0).permutation(len(real))[: int(TRAIN_SHARE * len(real))])
    fake = pd.concat(pd.read_parquet(path) for path in sorted(Path(task["synthetic"]).glob("*.parquet")))[
        list(real.columns)
    ]
    numeric = [name for name in real if pd.api.types.is_numeric_dtype(real[name])]
    metadata = {
        "columns": {name: {"sdtype": "numerical" if name in numeric else "categorical"} for name in real}
    }
    report, began = QualityReport(), time.perf_counter()
    report.generate(real, fake, metadata, verbose=False)
    scores = report.get_properties().set_index("Property")["Score"]
    ended = time.perf_counter()
    told = {
        "job_seconds": ended - START,
        "evaluation_seconds": ended - began,
        "figures": len(scores),
        "driver_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "rows": len(fake),
        "column_shapes": float(scores["Column Shapes"]),
        "column_pair_trends": float(scores["Column Pair Trends"]),
    }
    Path(result_path).write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:3])
