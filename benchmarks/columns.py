"""How long reading and profiling a wide CSV takes, in seconds, by stage.

    python benchmarks/columns.py --rows 1000000
    python benchmarks/columns.py --rows 1000000 --against be398d8

makes a table of 15 columns (numbers, categories, dates, times, keys, money, missing values), and times
reading it (parse, type, recognise) and fitting the codec (profile, curves). `--against` runs the same on an
earlier commit's code, checked out beside this one, and prints the ratio; both run in processes of
their own, in turn. Seconds are those of the processors, which a busy machine does not lengthen much.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = """
import json, sys, time
from synthmill.config import DataConfig
from synthmill.data.readers.base import read_source
try:
    from synthmill.data.codecs.mixed import MixedCodec as Codec
except ImportError:
    from synthmill.data.codec import TabularCodec as Codec
config = DataConfig(source=sys.argv[1])
began = time.process_time()
source = read_source(config)
read = time.process_time()
Codec.fit(source.table, config, source.rules)
print(json.dumps({"read": read - began, "fit": time.process_time() - read}))
"""


def make(path: Path, rows: int) -> None:
    """A CSV of 15 columns, in blocks: 10 million rows would not fit into memory as text at once."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv as csv

    rng = np.random.default_rng(0)
    block = 250_000
    with path.open("wb") as file:
        for start in range(0, rows, block):
            size = min(block, rows - start)
            money = rng.gamma(2.0, 900.0, size)
            age = rng.integers(18, 90, size).astype(str)
            days = rng.integers(0, 3000, size).astype("M8[D]")
            seconds = rng.integers(1_500_000_000, 1_700_000_000, size).astype("M8[s]")
            table = pa.table(
                {
                    "id": np.arange(start + 1, start + size + 1),
                    "age": pa.array(np.where(rng.random(size) < 0.05, "", age)),
                    "income": np.round(money, 2),
                    "score": rng.normal(size=size),
                    "code": rng.integers(0, 2000, size),
                    "plan": np.array(["basic", "pro", "team"])[rng.integers(0, 3, size)],
                    "city": np.char.add("City ", rng.integers(0, 3000, size).astype(str)),
                    "active": np.array(["true", "false"])[rng.integers(0, 2, size)],
                    "joined": days.astype(str),
                    "seen": np.datetime_as_string(seconds),
                    "share": np.round(rng.random(size), 4),
                    "clicks": rng.poisson(4, size),
                    "country": np.array(["DE", "NA", "US", "FR"])[rng.integers(0, 4, size)],
                    "rating": rng.integers(1, 6, size),
                    "income2": np.round(money * 1.2 + rng.normal(size=size), 1),
                }
            )
            csv.write_csv(table, file, csv.WriteOptions(include_header=start == 0))


def measure(code: Path, data: Path) -> dict[str, float]:
    """Seconds by stage in a fresh process on the code of a checkout."""
    env = {**os.environ, "PYTHONPATH": str(code / "platform"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(data)], env=env, cwd=code, capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--against", help="an earlier commit, to compare with")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "columns.csv"
        make(data, asked.rows)
        codes = {"now": ROOT}
        if asked.against:
            codes[asked.against] = Path(folder) / "earlier"
            worktree = ["git", "-C", str(ROOT), "worktree"]
            subprocess.run(
                [*worktree, "add", "--detach", str(codes[asked.against]), asked.against], check=True
            )
        try:
            runs: dict[str, list[dict[str, float]]] = {name: [] for name in codes}
            # In turn, so that what else the machine does falls on both.
            for _ in range(asked.repeats):
                for name, code in codes.items():
                    runs[name].append(measure(code, data))
                    print(
                        name,
                        {stage: round(seconds, 2) for stage, seconds in runs[name][-1].items()},
                        flush=True,
                    )
        finally:
            if asked.against:
                subprocess.run([*worktree, "remove", "--force", str(codes[asked.against])], check=True)
    medians = {name: statistics.median(sum(one.values()) for one in found) for name, found in runs.items()}
    print(json.dumps({"rows": asked.rows, "seconds": medians}))
    if asked.against:
        print(f"ratio {medians['now'] / medians[asked.against]:.2f}")


if __name__ == "__main__":
    main()
