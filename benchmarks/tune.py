"""What a search gains, and the portfolio that searches begin with.

    benchmarks/tune.py portfolio --write platform/synthmill/tuning/portfolio.json
    benchmarks/tune.py compare --tables adult=adult.csv:income ... --minutes 30

portfolio: the same configurations of each family on several tables, and the few that together do best
(greedily); never from adult, which is what the gain is measured on. Chosen anew without each table in turn,
and compared on that table with as many configurations drawn at random.
compare: for each table and each set of families a search, one by random search with the same budget, and
paired seeds of both picks, of the default and of the papers' settings, retrained and scored on the holdout
that no search has seen.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import harness
import numpy as np
from scipy import stats
from tune_cells import Raw, Table, by_the_authors, candidates, identity, looked, retrained, searched

FAMILIES = ("tvae", "ctgan", "tvae,ctgan")
SEEDS = 5
FIRST_SEED = 100
"""Of retrainings; no search trains with it."""
FIGURES = ("tstr", "c2st_near_half", "mean_uni_bi")
TABLES = harness.HERE / "data" / "tables"
PORTFOLIO_TABLES = (
    f"hmda={TABLES}/hmda.csv:deny",
    f"nmes1988={TABLES}/nmes1988.csv:insurance",
    f"computers={TABLES}/computers.csv:price",
    f"health_insurance={TABLES}/health_insurance.csv:health",
)
# arXiv 1907.00503, as the authors' package states them. Ours are the same but for what is said here.
PAPERS: Mapping[str, Raw] = {
    "tvae": {
        "embedding_dim": 128,
        "compress_dims": [128, 128],
        "decompress_dims": [128, 128],
        "learning_rate": 1e-3,
        "l2scale": 1e-5,
        "loss_factor": 2.0,
    },
    "ctgan": {
        "embedding_dim": 128,
        "generator_dim": [256, 256],
        "discriminator_dim": [256, 256],
        "generator_lr": 2e-4,
        "generator_decay": 1e-6,
        "discriminator_lr": 2e-4,
        "discriminator_decay": 1e-6,
        "discriminator_steps": 1,
        "pac": 10,
    },
}


def main() -> None:
    options = arguments()
    cells = harness.Cells(
        options, *(["minutes", "trials", "epochs"] if options.part == "compare" else ["steps"])
    )
    cells.stop_after(options.stop_after)
    if options.part == "compare":
        compare(options, cells)
    else:
        portfolio(options, cells)


def arguments() -> argparse.Namespace:
    parser = harness.parser(__doc__, "tune")
    parser.add_argument("part", choices=["compare", "portfolio"])
    parser.add_argument("--tables", nargs="+", default=[], help="NAME=SOURCE:TARGET")
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    parser.add_argument(
        "--samplers",
        nargs="+",
        default=["tpe", "random"],
        help="compare: the first is compared with the others",
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="compare: of one search")
    parser.add_argument("--trials", type=int, help="compare: of one search, instead of minutes")
    parser.add_argument("--epochs", type=int, help="compare: of one training; default: the recipe's 300")
    parser.add_argument("--concurrency", type=int, help="compare: trials at once; default: one a core")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="compare: retrainings of each")
    parser.add_argument("--peer-seeds", type=int, default=0, help="compare: of the authors' package")
    parser.add_argument("--stop-after", type=float, help="minutes after which no cell is begun")
    parser.add_argument("--configs", type=int, default=16, help="portfolio: configurations of a family")
    parser.add_argument("--steps", type=int, default=800, help="portfolio: of the default's training")
    parser.add_argument("--size", type=int, default=6, help="portfolio: of a family")
    parser.add_argument("--store", type=Path, default=harness.HERE / "data" / "tune-store")
    parser.add_argument("--write", type=Path, help="portfolio: the file to write")
    return parser.parse_args()


def compare(options: argparse.Namespace, cells: harness.Cells) -> None:
    """Every cell is saved as it is measured, so that a run that was cut off goes on."""
    rows = []
    for table in map(Table.parse, options.tables):
        for families in options.families:
            contenders = {
                **{name: found(options, cells, table, families, name) for name in options.samplers},
                **fixed(options, table, families),
            }
            held = {
                which: [
                    cells.run(f"holdout/{table.name}/{identity(recipe)}/{seed}", retrained(recipe, seed))
                    for seed in range(FIRST_SEED, FIRST_SEED + options.seeds)
                ]
                for which, recipe in contenders.items()
            }
            held |= authors(options, cells, table, families)
            first = options.samplers[0]
            for against in (name for name, runs in held.items() if runs and name != first):
                same = against in contenders and identity(contenders[against]) == identity(contenders[first])
                for figure in FIGURES:
                    gains = [a[figure] - b[figure] for a, b in zip(held[first], held[against], strict=False)]
                    about = {"table": table.name, "families": families, "against": against, "figure": figure}
                    value = float(np.mean([run[figure] for run in held[first]]))
                    rows.append(
                        about | {"same recipe": "yes" if same else "", "value": value} | interval(gains)
                    )
            print(harness.table(rows), flush=True)


def found(
    options: argparse.Namespace, cells: harness.Cells, table: Table, families: str, sampler: str
) -> Raw:
    """The recipe that a search picks."""
    names = families.split(",")
    tune: Raw = {"models": names, "sampler": sampler, "warm_start": False}
    if options.concurrency:
        tune["concurrency"] = options.concurrency
    if sampler == "random":
        tune["portfolio"] = False
    budget = ["--time-budget", f"{60 * options.minutes:g}s"]
    if options.trials:
        budget = ["--max-trials", str(options.trials)]
    recipe = table.recipe(names[0], options.epochs)
    # Each search in a store of its own: what is in it is published under one name.
    store = options.store / f"{table.name}-{'-'.join(names)}-{sampler}"
    key = f"search/{table.name}/{families}/{sampler}"
    picked: Raw = cells.run(key, searched(recipe, tune, budget, store))["recipe"]
    return picked


def fixed(options: argparse.Namespace, table: Table, families: str) -> dict[str, Raw]:
    """The default that a search begins with, and each family as its paper has it."""
    names = families.split(",")
    contenders = {"default": table.recipe(names[0], options.epochs)}
    for name in names:
        paper = table.recipe(name, options.epochs)
        paper["model"]["config"] = PAPERS[name]
        contenders[f"paper's {name}"] = paper
    return contenders


def authors(
    options: argparse.Namespace, cells: harness.Cells, table: Table, families: str
) -> dict[str, list[dict[str, Any]]]:
    """Each family by its authors' package, as it comes."""
    return {
        f"authors' {name}": [
            cells.run(f"authors/{table.name}/{name}/{seed}", by_the_authors(options, table, name, seed))
            for seed in range(FIRST_SEED, FIRST_SEED + options.peer_seeds)
        ]
        for name in families.split(",")
    }


def interval(gains: Sequence[float]) -> dict[str, float]:
    """Mean of paired differences with its 95% interval (Student's t)."""
    mean, error = float(np.mean(gains)), float(stats.sem(gains)) if len(gains) > 1 else float("nan")
    reach = float(stats.t.ppf(0.975, max(1, len(gains) - 1))) * error
    return {"gain": mean, "low": mean - reach, "high": mean + reach}


def portfolio(options: argparse.Namespace, cells: harness.Cells) -> None:
    """Scores of random configurations, the same on every table, and the file that is shipped."""
    from synthmill.tuning.portfolio import FORMAT, choose

    tables = [Table.parse(text) for text in options.tables or PORTFOLIO_TABLES]
    if any(table.name == "adult" for table in tables):
        sys.exit("adult is what the gain is measured on; a portfolio from it would be no proof")
    models: dict[str, list[Raw]] = {}
    guard: list[dict[str, Any]] = []
    for family in (name for name in options.families if "," not in name):
        configs = candidates(family, options.configs)
        by_table = {
            table.name: {
                f"{index:02d}": cells.run(
                    f"portfolio/{table.name}/{family}/{index}",
                    looked(table, config, steps=options.steps, seed=0),
                )["score"]
                for index, config in enumerate(configs)
            }
            for table in tables
        }
        # Index 0 is the default, which a search tries anyway.
        picks = choose(list(by_table.values()), options.size, given="00")
        models[family] = [
            {key: value for key, value in configs[int(index)].items() if key != "model"} for index in picks
        ]
        guard += [left_out(name, family, by_table, options.size) for name in by_table]
    # Families can be run one by one, with as many steps as each needs.
    old = json.loads(options.write.read_text()) if options.write and options.write.is_file() else {}
    origin = {
        "tables": [table.name for table in tables],
        "configurations": options.configs,
        "steps": options.steps,
        "made": f"{datetime.now(UTC):%Y-%m-%d}",
        "by": "benchmarks/tune.py portfolio",
    }
    content = {
        "format": FORMAT,
        "origin": {**old.get("origin", {}), **dict.fromkeys(models, origin)},
        "models": {**old.get("models", {}), **models},
    }
    text = json.dumps(content, indent=1) + "\n"
    if options.write:
        options.write.write_text(text)
    print(text)
    print(harness.table(guard))


def left_out(name: str, family: str, by_table: Mapping[str, dict[str, float]], size: int) -> dict[str, Any]:
    """The portfolio of the other tables on the one that it was not chosen from."""
    from synthmill.tuning.portfolio import choose

    others = [scores for other, scores in by_table.items() if other != name]
    return against_random(name, family, by_table[name], choose(others, size, given="00"))


def against_random(
    name: str, family: str, scores: Mapping[str, float], picks: Sequence[str]
) -> dict[str, Any]:
    """The best of some configurations, beside the mean best of as many drawn at random, the default in
    each."""
    default = scores["00"]
    drawn = [
        max(default, *(scores[index] for index in some))
        for some in combinations(sorted(index for index in scores if index != "00"), len(picks))
    ]
    best = max(default, *(scores[index] for index in picks))
    return {
        "table": name,
        "family": family,
        "default": default,
        "portfolio": best,
        "random": float(np.mean(drawn)),
        "first three": max(default, *(scores[index] for index in picks[:3])),
        "three random": float(
            np.mean([max(default, *three) for three in combinations(list(scores.values())[1:], 3)])
        ),
        "all": max(scores.values()),
    }


if __name__ == "__main__":
    main()
