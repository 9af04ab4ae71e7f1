#!/usr/bin/env python3
"""What the jobs after training take beside a source larger than memory: `augment` and `evaluate --profile
quick` of as many rows as the source has, in processor seconds over a plain read of the same file (P), and the
driver's memory.

    .venv/bin/python benchmarks/scale_jobs.py --rows 1000000 5000000 --folder /tmp/scale

reads the files that `benchmarks/scale.py` makes, and makes those that are missing. Processor seconds are
those of all processes of the job, Ray's own included, looked at ten times a second; memory is anonymous
(RssAnon). Starting Ray and reading code cost the same whatever the rows: "P a row" is what the rows cost that
a source has more than the smallest one.
"""

import argparse
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import harness
import scale
from memory import descendants

TICKS = os.sysconf("SC_CLK_TCK")


class Processes:
    """What a job and everything below it use until it ends."""

    def __init__(self, root: int) -> None:
        self._root, self._done = root, threading.Event()
        self._seconds: dict[int, float] = {}
        self.driver_mib = self.most_mib = 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> dict[str, float]:
        """The figures."""
        self._done.set()
        self._thread.join()
        return {
            "cpu_seconds": sum(self._seconds.values()),
            "driver_anonymous_mib": self.driver_mib,
            "largest_anonymous_mib": self.most_mib,
        }

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            for process in {self._root, *descendants(self._root)}:
                try:
                    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
                except OSError:
                    continue
                self._seconds[process] = (int(fields[11]) + int(fields[12])) / TICKS
                mib = scale.anonymous_mib(Path(f"/proc/{process}/status"))
                self.most_mib = max(self.most_mib, mib)
                if process == self._root:
                    self.driver_mib = max(self.driver_mib, mib)


def job(verb: str, store: Path, *words: str) -> dict[str, Any]:
    """One job as a user runs it; a gate that fails is a result, not a fault."""
    command = [sys.executable, str(harness.ROOT / f"jobs/{verb}.py"), *words, "--store", str(store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        watched = Processes(running.pid)
        output, _ = running.communicate()
        figures = watched.end()
    if running.returncode not in (0, 1):
        sys.exit(output[-2000:])
    return figures


def main() -> None:
    parser = harness.parser(__doc__, "scale_jobs")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000])
    parser.add_argument("--folder", type=Path, required=True, help="for sources and stores")
    parser.add_argument("--model", default="tvae")
    parser.add_argument("--steps", type=int, default=1100)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    cells = harness.Cells(options, "model", "steps", "threads", "workers")
    found = [measured(cells, options, rows) for rows in sorted(options.rows)]
    table = []
    for one in found:
        row: dict[str, Any] = {"rows": f"{one['rows']:,}", "P s": one["read"]["cpu_seconds"]}
        more = row["P s"] - found[0]["read"]["cpu_seconds"]
        for verb in ("augment", "evaluate"):
            extra = one[verb]["cpu_seconds"] - found[0][verb]["cpu_seconds"]
            row |= {
                f"{verb} CPU s": one[verb]["cpu_seconds"],
                f"{verb} P a row": extra / more if more else "",
                f"{verb} driver MiB": one[verb]["driver_anonymous_mib"],
                f"{verb} largest MiB": one[verb]["largest_anonymous_mib"],
            }
        table.append(row)
    print(f"\n{harness.table(table)}")


def measured(cells: harness.Cells, options: argparse.Namespace, rows: int) -> dict[str, Any]:
    """All jobs on one source."""
    source, store = options.folder / f"{rows}.parquet", options.folder / f"store-{rows}"
    if not source.exists():
        scale.make(source, rows)
    words = [word for item in scale.overrides(options, source, "always") for word in ("--set", item)]
    workers = ("--workers", str(options.workers))
    asked = ("--model", "scale", "--rows", str(rows), "--seed", "7", "--dataset", "scale-synth")
    verdict = ("--dataset", "scale-synth", "--profile", "quick")
    cells.run(f"{rows}/train", lambda: job("train", store, "table", *words))
    return {
        "rows": rows,
        "read": cells.run(f"{rows}/read", lambda: scale.read({"source": source})),
        "augment": cells.run(f"{rows}/augment", lambda: job("augment", store, *asked, *workers)),
        "evaluate": cells.run(f"{rows}/evaluate", lambda: job("evaluate", store, *verdict)),
    }


if __name__ == "__main__":
    main()
