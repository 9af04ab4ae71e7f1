"""What comes before a search: everything that can be wrong with its recipe, the rows, and what a trial
costs."""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import synthmill
from synthmill.catalog.store import Store
from synthmill.config import AUTO, Recipe, dump, fingerprint
from synthmill.data.codecs.constrained import fit_codec
from synthmill.data.shards import ShardIndex
from synthmill.errors import RecipeError
from synthmill.models.base import model_class
from synthmill.runtime import cluster
from synthmill.runtime.encode import encode_into, shards_in
from synthmill.runtime.prepare import Prepared, prepare, run_key
from synthmill.runtime.progress import say
from synthmill.runtime.trial import Shared, without_holdout
from synthmill.storage.folder import Folder
from synthmill.training.choice import FAMILIES
from synthmill.training.encoding import reads_by_code
from synthmill.training.fit import fit, fresh_model
from synthmill.training.parallel import Single, local_rows
from synthmill.training.plan import make_plan
from synthmill.training.prepare import Rows, check_streamed, scan_rows
from synthmill.training.reporter import Silent
from synthmill.tune_config import TuneConfig
from synthmill.tuning.budget import Costs, require_one, rungs_of, trials_in
from synthmill.tuning.journal import Journal, read_events, replay
from synthmill.tuning.portfolio import earlier, shipped
from synthmill.tuning.propose import check_sampler
from synthmill.tuning.record import Trial
from synthmill.tuning.scoring import Goal, Scorer, make_goal
from synthmill.tuning.search import FirstPoint
from synthmill.tuning.space import MODEL, Space, make_space

LIMITS = ("max_trials", "budget_seconds", "concurrency", "gpus", "max_failures")
"""Settings of a search that may differ when it goes on: they change how long it takes, not what is seen."""
PILOT_STEPS = 5
GROUP_SECONDS = 15.0
"""That Ray Train takes to start the processes of a trial, for each look."""


@dataclass(frozen=True)
class Setup:
    """All that a search needs."""

    recipe: Recipe
    """Resolved; its model is the first family."""
    prepared: Prepared
    rows: dict[str, Rows]
    """By encoding: the source as its codec, which is another one for each, has it."""
    space: Space
    goal: Goal
    key: str
    """SHA-256 of what determines the search."""

    @property
    def store(self) -> Store:
        return self.prepared.store

    @property
    def run_name(self) -> str:
        """Folder of the search below `tunes/`."""
        return f"{self.recipe.name}-{self.key[:12]}"

    @property
    def rungs(self) -> tuple[float, ...]:
        """Shares of the training at which trials are looked at."""
        return rungs_of(self.recipe.tune, self.prepared.steps)

    def introduce(self) -> None:
        """What a person should know before the wait."""
        for note in self.prepared.rows.notes:
            say(note)
        counts = self.prepared.rows.tables.split.counts
        shares = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        say(f"{self.prepared.rows.source.uri}: {shares}")
        searched = sum(len(space) for space in self.space.families.values())
        say(f"searching {searched} parameters of {', '.join(self.space.families)} in {self.run_name}")
        cluster.warn_of_local(self.store.root)

    def shared(self, folder: Folder, missing: tuple[str, ...], resources: Mapping[str, float]) -> Shared:
        """What trial processes get."""
        return Shared(
            recipe=dump(self.recipe),
            folder=folder,
            tables=without_holdout(self.prepared.rows.tables),
            codecs={name: codec.to_files() for name, codec in self.codecs.items()},
            shards={name: self._encoded(name, folder) for name in self.rows} if self.is_streamed else {},
            missing=missing,
            environment=cluster.environment(),
            resources=resources,
            rules=self.prepared.rows.source.rules,
        )

    @property
    def codecs(self) -> dict[str, Any]:
        """By encoding."""
        return {name: rows.codec for name, rows in self.rows.items()}

    @property
    def is_streamed(self) -> bool:
        """Whether the source is read in blocks."""
        return self.prepared.rows.divided is not None

    def _encoded(self, encoding: str, folder: Folder) -> ShardIndex:
        """The training rows, encoded once for all trials."""
        rows = self.rows[encoding]
        families = [name for name in self.space.families if model_class(name).encoding == encoding]
        models = [
            fresh_model(self.space.recipe_of({MODEL: name}), rows.codec.record_layout()) for name in families
        ]
        return encode_into(shards_in(folder).child(encoding), rows, self.key, by_code=reads_by_code(models))

    def prepared_for(self, trial: Trial) -> Prepared:
        """What publishing a trial's weights needs: the recipe that trains the same again."""
        recipe = self.space.recipe_of(trial.point)
        # The model is that of an ordinary training; what led to it stands in its manifest.
        recipe = recipe.model_copy(update={"tune": TuneConfig()})
        # Without the choice: the search decided.
        rows = replace(self.rows[model_class(recipe.model.name).encoding], choice=None)
        key = run_key(recipe, rows.source, is_scanned=self.is_streamed)
        return Prepared(recipe, self.store, rows, key)

    def about(self, ref: str) -> dict[str, Any]:
        """Facts for the report."""
        return {
            "search": ref,
            "source": self.prepared.rows.source.uri,
            "objective": ", ".join(self.goal.objectives),
            "terms": list(self.goal.terms),
            "sampler": self.recipe.tune.sampler,
            "seed": self.recipe.tune.seed,
            "rungs": [round(share, 3) for share in self.rungs],
        }


def set_up(recipe: Recipe, store_uri: str) -> Setup:
    """Check the recipe, then read, split and encode.

    Raises:
        UserError: anything the user can mend.
    """
    is_open = recipe.model.name == AUTO and not recipe.tune.models
    if is_open:
        # All that could be chosen is searched; what would be chosen is the default to beat.
        recipe = _searching(recipe, FAMILIES)
    families = recipe.tune.models or (recipe.model.name,)
    if recipe.data.group_by is not None:
        raise RecipeError(
            "searches compare single rows, and know nothing of sequences; leave it out, or train",
            field="data.group_by",
        )
    if recipe.model.name not in families and not is_open:
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"name": families[0]})})
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"config": {}})})
    if recipe.training.least_workers < recipe.training.most_workers:
        raise RecipeError("a trial has a fixed number of them, such as 2", field="training.workers")
    _check_gpus(recipe)
    make_space(recipe)
    check_sampler(recipe.tune.sampler)
    kinds = {model_class(name).modalities[0] for name in families}
    if len(kinds) > 1:
        raise RecipeError(
            f"names models of different kinds of data: {', '.join(sorted(kinds))}", field="tune.models"
        )
    prepared = prepare(recipe, store_uri)
    if is_open:
        chosen = prepared.recipe.model.name
        first = (chosen, *(name for name in families if name != chosen))
        prepared = replace(prepared, recipe=_searching(prepared.recipe, first))
    space, goal = make_space(prepared.recipe), make_goal(prepared.recipe)
    rows = _by_encoding(prepared, families)
    setup = Setup(prepared.recipe, prepared, rows, space, goal, _key(prepared))
    if recipe.training.most_workers > 1:
        _check_workers(setup)
    return setup


def _by_encoding(prepared: Prepared, families: tuple[str, ...]) -> dict[str, Rows]:
    """The rows in each encoding that a family needs."""
    if prepared.rows.divided is not None:
        _check_streamed(prepared.recipe, families)
    found = {model_class(prepared.recipe.model.name).encoding: prepared.rows}
    for name in families:
        encoding = model_class(name).encoding
        if encoding not in found:
            found[encoding] = _in_encoding(prepared, name)
    return found


def _check_streamed(recipe: Recipe, families: tuple[str, ...]) -> None:
    """RecipeError for what can't be searched of a source that is read in blocks."""
    for name in families:
        check_streamed(_of_family(recipe, name))
    if recipe.tune.fidelity == "rows":
        raise RecipeError(
            "is rows, and the source is read in blocks, of which every trial reads the same; use steps",
            field="tune.fidelity",
        )


def _in_encoding(prepared: Prepared, family: str) -> Rows:
    """The rows of a search in the encoding of another family, divided as they are."""
    recipe, rows = prepared.recipe, prepared.rows
    if rows.divided is not None:
        return scan_rows(_of_family(recipe, family), rows.divided.scan)
    codec = fit_codec(model_class(family).encoding, rows.tables.train, recipe.data, rows.source.rules)
    return replace(rows, codec=codec)


def _of_family(recipe: Recipe, name: str) -> Recipe:
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"name": name, "config": {}})})


def _searching(recipe: Recipe, families: tuple[str, ...]) -> Recipe:
    return recipe.model_copy(update={"tune": recipe.tune.model_copy(update={"models": families})})


def _check_workers(setup: Setup) -> None:
    """Raises RecipeError for more workers than the default of a family can share a batch among."""
    rows = setup.prepared.rows.train_rows
    for family in setup.space.families:
        recipe = setup.space.recipe_of({MODEL: family})
        model = fresh_model(recipe, setup.codecs[model_class(family).encoding].layout)
        stages = model.stages()
        if stages:
            plan = make_plan(recipe.training, stages, rows, model.row_group)
            local_rows(plan.batch_rows, model.row_group, 0, recipe.training.most_workers)


def _check_gpus(recipe: Recipe) -> None:
    """Raises RecipeError for a number of GPUs that no process can have, or that contradicts the device."""
    gpus, training = recipe.tune.gpus, recipe.training
    if gpus is None:
        return
    if gpus == 0 and training.device == "cuda":
        raise RecipeError("is 0 but training.device is cuda; leave one of them out", field="tune.gpus")
    if gpus > 0 and training.device == "cpu":
        raise RecipeError(f"is {gpus:g} but training.device is cpu; leave one of them out", field="tune.gpus")
    if gpus > 1 and gpus != int(gpus):
        raise RecipeError(f"is {gpus:g}; above 1 Ray gives whole GPUs only", field="tune.gpus")
    if 0 < gpus < 1 and training.most_workers > 1:
        # NCCL, which sums their gradients, refuses two processes on one GPU.
        raise RecipeError(
            f"is {gpus:g}, and processes that train together need whole GPUs; use 1 or training.workers=1",
            field="tune.gpus",
        )


def measure(setup: Setup, journal: Journal | None) -> tuple[Costs, tuple[str, ...]]:
    """What a training and a look cost, and which terms this source can't give; measured once a search.

    Raises:
        RecipeError: the budget holds not even one trial.
    """
    said = journal.record.settings if journal is not None else {}
    if said:
        costs, missing = Costs(**said["costs"]), tuple(said["missing"])
    else:
        costs, missing = _pilot(setup)
        require_one(setup.recipe.tune, costs)
        if journal is not None:
            settings = {
                "recipe": dump(setup.recipe),
                "source": setup.prepared.rows.source.sha256,
                "key": setup.key,
                "costs": vars(costs),
                "missing": list(missing),
            }
            journal.append("begin", settings=settings)
    return costs, missing


def _pilot(setup: Setup) -> tuple[Costs, tuple[str, ...]]:
    """A few steps of the default, and a look at real rows in the place of synthetic ones."""
    rows = setup.prepared.rows
    scorer = Scorer(setup.recipe, rows.tables, rows.codec)
    began = time.monotonic()
    missing = scorer.lacking(rows.tables.train.slice(0, setup.recipe.tune.sample_rows))
    scoring = time.monotonic() - began
    times = []
    # The first steps of a process are slow; what the second short training takes more is theirs alone.
    for steps in (1, 1, 1 + PILOT_STEPS):
        began = time.monotonic()
        training = setup.recipe.training.model_copy(update={"max_steps": steps, "threads": 1})
        short = setup.recipe.model_copy(update={"training": training})
        nothing = rows.tables.validation.slice(0, 0)
        # A default that fails is a trial that fails, and stands in the journal with its reason.
        with contextlib.suppress(Exception):
            fit(short, rows.tables.train, nothing, rows.codec, parallel=Single(), reporter=Silent())
        times.append(time.monotonic() - began)
    steps = setup.prepared.steps
    each = max(1e-4, (times[2] - times[1]) / PILOT_STEPS)
    # Quality checks take a twentieth of a training.
    seconds = times[1] + 1.05 * each * steps if steps > 1 else times[1]
    limit = setup.recipe.training.max_seconds
    if setup.recipe.training.most_workers > 1:
        # The training is taken to last as long as in one process: how much sooner several are done is known
        # when they have tried.
        scoring += GROUP_SECONDS
    return Costs(min(seconds, limit) if limit else seconds, scoring), tuple(missing)


def first_points(setup: Setup, ref: str) -> list[FirstPoint]:
    """Where the search begins after the default, as the recipe says."""
    config, found = setup.recipe.tune, []
    if config.warm_start:
        found += earlier(setup.space, _earlier_records(setup, ref))
    if config.portfolio:
        found += shipped(setup.space)
    return found


def _earlier_records(setup: Setup, ref: str) -> list[Any]:
    """Searches of this store on the same source, the newest last; what can't be read is no loss."""
    records = []
    for run in setup.store.runs(kind="tunes"):
        if run.ref == ref:
            continue
        record = replay(read_events(run.folder))
        if record.settings.get("source") == setup.prepared.rows.source.sha256:
            records.append(record)
    return records


def _key(prepared: Prepared) -> str:
    """SHA-256 of what determines a search: the recipe but for its limits, the source, the code."""
    plain = dump(prepared.recipe)
    plain.pop("storage")
    plain["tune"] = {name: value for name, value in plain["tune"].items() if name not in LIMITS}
    plain_recipe = prepared.recipe.model_copy(update={"tune": TuneConfig()})
    is_scanned = prepared.rows.divided is not None
    digest = run_key(plain_recipe, prepared.rows.source, is_scanned=is_scanned)
    return fingerprint({"tune": plain["tune"], "training": digest, "code": synthmill.__version__})


def dry_run(recipe: Recipe, store_uri: str, at_once: int) -> list[str]:
    """The space, and how many trials the budget holds, in lines; measured here, nothing is written."""
    setup = set_up(recipe, store_uri)
    costs, missing = measure(setup, None)
    count = trials_in(recipe.tune, costs, setup.rungs, at_once)
    looks = ", ".join(f"{share:.0%}" for share in setup.rungs)
    return [
        *setup.space.lines(),
        f"objective: {', '.join(setup.goal.objectives)} of {', '.join(setup.goal.terms)}",
        *([f"without: {', '.join(missing)} (this source can't give it)"] if missing else []),
        f"looks after {looks} of {setup.prepared.steps:,} steps",
        f"one training takes about {costs.training:.3g} s and a look {costs.scoring:.3g} s;"
        f" the budget holds about {count} trials, {at_once} at once",
    ]
