"""What a search gains, and the portfolio that searches begin with.

    benchmarks/tune.py compare --tables adult=adult.csv:income ... --minutes 30
    benchmarks/tune.py portfolio --write platform/synthmill/tuning/portfolio.json

compare: for each table and each set of families a search, one by random search at the same budget, and five
paired seeds of both picks and of the default, retrained and scored on the holdout that no search has seen.
portfolio: the same configurations of each family on several tables, and the few that together do best
(greedily); never from adult, which is what the gain is measured on.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import harness
import numpy as np
import yaml
from scipy import stats
from scores import scores

FAMILIES = ("tvae", "ctgan", "tvae,ctgan")
SEEDS = 5
SMALL_TABLES = {
    "breast_cancer": ("sklearn://breast_cancer", "target"),
    "diabetes": ("sklearn://diabetes", "target"),
    "wine": ("sklearn://wine", "target"),
}


def main() -> None:
    parser = harness.parser(__doc__, "tune")
    parser.add_argument("part", choices=["compare", "portfolio"])
    parser.add_argument(
        "--tables", nargs="+", default=[], help="NAME=SOURCE:TARGET; portfolio: default scikit-learn's"
    )
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    parser.add_argument("--minutes", type=float, default=30.0, help="of one search")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--stop-after", type=float, help="minutes after which no cell is begun")
    parser.add_argument("--configs", type=int, default=16, help="portfolio: configurations of a family")
    parser.add_argument("--steps", type=int, default=600, help="portfolio: of one training")
    parser.add_argument("--size", type=int, default=6, help="portfolio: of a family")
    parser.add_argument("--store", type=Path, default=harness.HERE / "data" / "tune-store")
    parser.add_argument("--write", type=Path, help="portfolio: the file to write")
    options = parser.parse_args()
    cells = harness.Cells(options, "minutes" if options.part == "compare" else "steps")
    cells.stop_after(options.stop_after)
    (compare if options.part == "compare" else portfolio)(options, cells)


def compare(options: argparse.Namespace, cells: harness.Cells) -> None:
    """Every cell is saved as it is measured, so that a run that was cut off goes on."""
    rows = []
    for table in options.tables:
        name, _, source = table.partition("=")
        for families in options.families:
            found = {
                sampler: cells.run(
                    f"search/{name}/{families}/{sampler}", searched(options, name, source, families, sampler)
                )
                for sampler in ("tpe", "random")
            }
            recipes = {sampler: cell["recipe"] for sampler, cell in found.items()}
            recipes["default"] = base(name, source, families)
            held = {
                which: [
                    cells.run(f"holdout/{name}/{families}/{which}/{seed}", retrained(options, recipe, seed))
                    for seed in range(100, 100 + options.seeds)
                ]
                for which, recipe in recipes.items()
            }
            for against in ("default", "random"):
                for figure in ("tstr", "c2st_near_half", "mean_uni_bi"):
                    gains = [a[figure] - b[figure] for a, b in zip(held["tpe"], held[against], strict=True)]
                    rows.append(
                        {"table": name, "families": families, "against": against, "figure": figure}
                        | interval(gains)
                    )
    if rows:
        print(harness.table(rows))


def interval(gains: list[float]) -> dict[str, float]:
    """Mean of paired differences with its 95% interval (Student's t)."""
    mean, error = float(np.mean(gains)), float(stats.sem(gains)) if len(gains) > 1 else float("nan")
    reach = float(stats.t.ppf(0.975, max(1, len(gains) - 1))) * error
    return {"gain": mean, "low": mean - reach, "high": mean + reach}


def base(name: str, source: str, families: str) -> dict[str, Any]:
    uri, _, target = source.rpartition(":")
    first = families.split(",")[0]
    return {"name": name, "data": {"source": uri, "target": target}, "model": {"name": first}}


def searched(
    options: argparse.Namespace, name: str, source: str, families: str, sampler: str
) -> Callable[[], Mapping[str, Any]]:
    """A search by the command that a user runs; the cell keeps the recipe of its pick."""

    def measure() -> Mapping[str, Any]:
        recipe = base(name, source, families)
        recipe["tune"] = {"models": families.split(","), "sampler": sampler, "warm_start": False}
        if sampler == "random":
            recipe["tune"]["portfolio"] = False
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(recipe, file)
            file.flush()
            budget = f"{60 * options.minutes}s"
            done = harness.job(
                ["jobs/tune.py", file.name, "--time-budget", budget, "--store", str(options.store)]
            )
        config = json.loads((Path(done["uri"].removeprefix("file://")) / "config.json").read_text())
        kept = ("trials", "trial", "score", "default_score", "why", "search", "wall_seconds")
        return {"recipe": config["recipe"], **{key: done[key] for key in kept}}

    return measure


def retrained(
    options: argparse.Namespace, recipe: Mapping[str, Any], seed: int
) -> Callable[[], Mapping[str, float]]:
    """A recipe trained with a fresh seed and scored on the holdout."""

    def measure() -> Mapping[str, float]:
        import synthmill
        from synthmill.config import Recipe, parse_model
        from synthmill.data.readers.base import read_source
        from synthmill.training.prepare import prepare_rows, resolve

        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump({**recipe, "tune": {}}, file)
            file.flush()
            done = harness.job(
                ["jobs/train.py", file.name, "--set", f"training.seed={seed}", "--store", str(options.store)]
            )
        resolved = resolve(parse_model(Recipe, dict(recipe)))
        tables = prepare_rows(resolved, read_source(resolved.data)).tables
        model = synthmill.load(done["model"], store=str(options.store))
        train, holdout = tables.train.to_pandas(), tables.holdout.to_pandas()
        made = model.sample(len(train), seed=seed).to_pandas()
        target = str(resolved.data.target)
        rarest = str(train[target].astype(str).value_counts().idxmin())
        found = scores(train, holdout, made, target=target, positive=rarest)
        return {
            **found,
            "c2st_near_half": 1 - 2 * abs(found["c2st"] - 0.5),
            "mean_uni_bi": (found["uni"] + found["bi"]) / 2,
        }

    return measure


def portfolio(options: argparse.Namespace, cells: harness.Cells) -> None:
    """Scores of random configurations, the same on every table, and the file that is shipped."""
    from synthmill.tuning.portfolio import FORMAT, choose

    tables = {
        name: tuple(source.rpartition(":")[::2])
        for name, _, source in (table.partition("=") for table in options.tables)
    } or SMALL_TABLES
    if "adult" in tables:
        sys.exit("adult is what the gain is measured on; a portfolio from it would be no proof")
    models: dict[str, list[dict[str, Any]]] = {}
    for family in (name for name in options.families if "," not in name):
        configs = candidates(family, options.configs)
        worth = [
            {
                str(index): cells.run(f"portfolio/{name}/{family}/{index}", looked(options, *source, config))[
                    "score"
                ]
                for index, config in enumerate(configs)
            }
            for name, source in tables.items()
        ]
        # Index 0 is the default, which a search tries anyway.
        models[family] = [configs[int(index)] for index in choose(worth, options.size + 1) if index != "0"]
        models[family] = [
            {key: value for key, value in config.items() if key != "model"}
            for config in models[family][: options.size]
        ]
    content = {
        "format": FORMAT,
        "origin": {
            "tables": sorted(uri for uri, _ in tables.values()),
            "configurations": options.configs,
            "steps": options.steps,
            "made": f"{datetime.now(UTC):%Y-%m-%d}",
            "by": "benchmarks/tune.py portfolio",
        },
        "models": models,
    }
    text = json.dumps(content, indent=1) + "\n"
    if options.write:
        options.write.write_text(text)
    print(text)


def candidates(family: str, count: int) -> list[dict[str, Any]]:
    """The default, and random points of what the family declares; the same on every table."""
    from synthmill.config import Recipe, parse_model
    from synthmill.tuning.propose import propose
    from synthmill.tuning.record import Trial
    from synthmill.tuning.space import make_space

    raw = {"name": "p", "data": {"source": "x"}, "model": {"name": family}}
    space = make_space(parse_model(Recipe, raw))
    points = [space.default(family)]
    while len(points) < count:
        seen = [Trial(number, point, "", 0, state="failed") for number, point in enumerate(points)]
        points.append(propose(space, seen, sampler="random", seed=7, objectives=1))
    return points


def looked(
    options: argparse.Namespace, source: str, target: str, point: Mapping[str, Any]
) -> Callable[[], Mapping[str, float]]:
    """One configuration on one table, by the objective of searches."""

    def measure() -> Mapping[str, float]:
        import torch

        from synthmill.config import Recipe, dump, parse_model
        from synthmill.runtime.trial import Shared, take_look
        from synthmill.runtime.tune_setup import set_up
        from synthmill.storage.folder import Folder
        from synthmill.tuning.search import Proposal

        raw = {
            "name": "portfolio",
            "data": {"source": source, "target": target},
            "model": {"name": str(point["model"])},
            "training": {"max_steps": options.steps, "max_epochs": 10**6, "threads": 1},
            "tune": {"sample_rows": 1000, "constraints": "none"},
        }
        with tempfile.TemporaryDirectory() as folder:
            setup = set_up(parse_model(Recipe, raw), folder)
            shared = Shared(
                recipe=dump(setup.recipe),
                folder=Folder(folder),
                tables=setup.prepared.rows.tables,
                codecs={name: codec.to_files() for name, codec in setup.codecs.items()},
                missing=(),
                environment={},
            )
            proposal = Proposal(0, dict(point), 0, (1.0,), 0, None, partial=False, keep=False)
            look = take_look(shared, proposal, 1.0, device=torch.device("cpu"))
        assert look.verdict is not None
        return {"score": look.verdict.values[0], **look.verdict.figures}

    return measure


if __name__ == "__main__":
    main()
