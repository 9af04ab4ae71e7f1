"""What the cells of `tune.py` measure: a search as a user runs it, a recipe retrained with a fresh seed and
scored on the holdout, one look at a configuration as a search takes it."""

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import harness
import numpy as np
import pandas as pd
import torch
import yaml
from scores import accuracies, c2st, tstr

from synthmill.config import Recipe, dump, fingerprint, parse_model
from synthmill.data.readers.base import read_source
from synthmill.generation.sampler import Sampler, one_thread
from synthmill.models.base import build
from synthmill.runtime.trial import Shared, take_look
from synthmill.runtime.tune_setup import set_up
from synthmill.storage.folder import Folder
from synthmill.training.fit import fit
from synthmill.training.parallel import Single
from synthmill.training.prepare import Rows, prepare_rows, resolve
from synthmill.training.reporter import Silent
from synthmill.tuning.propose import propose
from synthmill.tuning.record import Trial
from synthmill.tuning.search import Proposal
from synthmill.tuning.space import MODEL, make_space

Raw = dict[str, Any]
MOST_CHUNKS, CHUNK_ROWS = 3, 3_000
"""C2ST is a mean over several draws of as many synthetic rows as the holdout has, where it is small."""


@dataclass(frozen=True)
class Table:
    """A source with a target."""

    name: str
    uri: str
    target: str

    @staticmethod
    def parse(text: str) -> "Table":
        """`NAME=SOURCE:TARGET`."""
        name, _, source = text.partition("=")
        uri, _, target = source.rpartition(":")
        return Table(name, uri, target)

    def recipe(self, family: str, epochs: int | None = None) -> Raw:
        """The defaults, for other epochs if they are stated; one thread, so that cells can run side by
        side."""
        training = {"threads": 1, "device": "cpu"} | ({"max_epochs": epochs} if epochs else {})
        return {
            "name": self.name,
            "data": {"source": self.uri, "target": self.target},
            "model": {"name": family},
            "training": training,
        }


def identity(recipe: Raw) -> str:
    """Names a recipe by what trains: equal picks of several searches are trained once."""
    whole = resolve(parse_model(Recipe, {**recipe, "tune": {}}))
    return fingerprint({"model": dump(whole.model), "training": dump(whole.training)})[:12]


def searched(recipe: Raw, tune: Raw, options: Sequence[str], store: Path) -> Callable[[], Mapping[str, Any]]:
    """A search by the command that a user runs; the cell keeps the recipe of its pick. A search that was cut
    off goes on from its journal."""

    def measure() -> Mapping[str, Any]:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump({**recipe, "tune": tune}, file)
            file.flush()
            done = harness.job(["jobs/tune.py", file.name, "--store", str(store), *options], threads=1)
        config = json.loads((Path(done["uri"].removeprefix("file://")) / "config.json").read_text())
        kept = ("trials", "trial", "score", "default_score", "why", "search")
        return {"recipe": config["recipe"], **{key: done[key] for key in kept}}

    return measure


def retrained(recipe: Raw, seed: int) -> Callable[[], Mapping[str, float]]:
    """A recipe trained as `train` trains it, with another seed, and scored on the holdout.

    Utility is trained on as many synthetic rows as there are training rows; all else compares with the
    holdout rows themselves.
    """

    def measure() -> Mapping[str, float]:
        raw = {**recipe, "tune": {}, "training": {**recipe["training"], "seed": seed}}
        resolved = resolve(parse_model(Recipe, raw))
        rows = _rows(json.dumps(dump(resolved.data), sort_keys=True), resolved.model.name)
        before = harness.cpu_seconds()
        made = generated(resolved, rows, rows.tables.train.num_rows)
        used = harness.cpu_seconds() - before
        train, holdout = rows.tables.train.to_pandas(), rows.tables.holdout.to_pandas()
        return {**on_holdout(train, holdout, made, str(resolved.data.target)), "cpu_seconds": round(used, 1)}

    return measure


def by_the_authors(
    options: argparse.Namespace, table: Table, family: str, seed: int
) -> Callable[[], Mapping[str, float]]:
    """The family as its authors' package trains it with its defaults, scored alike. It takes no missing
    numbers: they are the column's mean there."""

    def measure() -> Mapping[str, float]:
        resolved = resolve(parse_model(Recipe, table.recipe(family, options.epochs)))
        rows = _rows(json.dumps(dump(resolved.data), sort_keys=True), family)
        train, holdout = rows.tables.train.to_pandas(), rows.tables.holdout.to_pandas()
        target = str(resolved.data.target)
        # A class is no number to it, as it is none to us.
        given = train.astype({target: str}) if resolved.data.target else train
        numbers = given.select_dtypes("number").columns
        given = given.fillna({name: given[name].mean() for name in numbers})
        with tempfile.TemporaryDirectory() as folder:
            given.to_parquet(f"{folder}/train.parquet")
            done = harness.peer(
                options,
                task="fit",
                model=family,
                train=f"{folder}/train.parquet",
                synthetic=f"{folder}/made.parquet",
                batch_rows=resolved.training.global_batch_rows,
                epochs=resolved.training.max_epochs,
                rows=len(train),
                seed=seed,
            )
            made = pd.read_parquet(f"{folder}/made.parquet")
        return {**on_holdout(train, holdout, made, target), "cpu_seconds": round(done["fit_cpu_seconds"], 1)}

    return measure


@cache
def _rows(data: str, model: str) -> Rows:
    raw = {"name": "rows", "data": json.loads(data), "model": {"name": model}}
    resolved = resolve(parse_model(Recipe, raw))
    return prepare_rows(resolved, read_source(resolved.data))


def generated(recipe: Recipe, rows: Rows, count: int) -> pd.DataFrame:
    """Rows of a model that is trained here, without Ray and a store: each job would cost seconds of start."""
    tables, codec = rows.tables, rows.codec
    outcome = fit(
        recipe,
        tables.train,
        tables.validation,
        codec,
        parallel=Single(torch.device("cpu")),
        reporter=Silent(),
    )
    model = build(recipe.model.name, recipe.model.config, codec.layout)
    model.load_state_dict(outcome.state_dict)
    model.eval()
    with one_thread():
        parts, first = [], 0
        for part in Sampler(model, codec).seeded(count, seed=recipe.training.seed, path=(0, 0)):
            parts.append(codec.decode(part, first_row=first).to_pandas())
            first += part.num_rows
    return pd.concat(parts, ignore_index=True)


def on_holdout(
    train: pd.DataFrame, holdout: pd.DataFrame, made: pd.DataFrame, target: str
) -> dict[str, float]:
    """TSTR, C2ST, uni and bi of synthetic rows against rows that neither training nor a search has seen."""
    commonest = str(train[target].astype(str).value_counts().idxmax())
    size = min(len(holdout), len(made))
    chunks = 1 if size > CHUNK_ROWS else min(MOST_CHUNKS, len(made) // size)
    aucs = [c2st(holdout, made.iloc[k * size : (k + 1) * size]) for k in range(chunks)]
    close = accuracies(holdout, made)
    auc = float(np.mean(aucs))
    return {
        "tstr": tstr(train, holdout, made, target=target, positive=commonest),
        "c2st": auc,
        "c2st_near_half": 1 - 2 * abs(auc - 0.5),
        **close,
        "mean_uni_bi": (close["uni"] + close["bi"]) / 2,
    }


def candidates(family: str, count: int) -> list[Raw]:
    """The default, and random points of what the family declares; the same on every table."""
    raw = {"name": "p", "data": {"source": "x"}, "model": {"name": family}}
    space = make_space(parse_model(Recipe, raw))
    points = [space.default(family)]
    while len(points) < count:
        seen = [Trial(number, point, "", 0, state="failed") for number, point in enumerate(points)]
        points.append(propose(space, seen, sampler="random", seed=7, objectives=1))
    return points


def looked(table: Table, point: Raw, *, steps: int, seed: int) -> Callable[[], Mapping[str, float]]:
    """One configuration on one table, by the objective of searches. `steps` are the default's: the passes
    over the rows are the same for all, as they are in a search."""

    def measure() -> Mapping[str, float]:
        shared = _shared(table, str(point[MODEL]), steps)
        before = harness.cpu_seconds()
        proposal = Proposal(0, dict(point), seed, (1.0,), 0, None, partial=False, keep=False)
        look = take_look(shared, proposal, 1.0, device=torch.device("cpu"))
        assert look.verdict is not None
        used = round(harness.cpu_seconds() - before, 1)
        # Weights of the next look are none of this one's.
        Folder(shared.folder.uri).delete_tree("trials")
        return {"score": look.verdict.values[0], **look.verdict.figures, "cpu_seconds": used}

    return measure


@cache
def _shared(table: Table, family: str, steps: int) -> Shared:
    folder = tempfile.mkdtemp(prefix="portfolio-")
    raw = table.recipe(family)
    raw["tune"] = {"sample_rows": 1000, "constraints": "none"}
    setup = set_up(parse_model(Recipe, raw), folder)
    rows = setup.prepared.rows.tables.train.num_rows
    epochs = max(1, round(steps * setup.recipe.training.global_batch_rows / rows))
    shared = setup.shared(Folder(folder), (), {})
    shared.recipe["training"]["max_epochs"] = epochs  # type: ignore[index]
    return shared
