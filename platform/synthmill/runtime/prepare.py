"""The first step of a training job: everything that can be wrong with a recipe surfaces here, before
workers start."""

from dataclasses import dataclass

import synthmill
from synthmill.catalog.store import Store
from synthmill.config import Recipe, dump, fingerprint
from synthmill.data.readers.base import Source, read_source
from synthmill.data.scan.choice import scan_if_large
from synthmill.data.scan.found import Runner, in_turn
from synthmill.data.scan.scan import Scan
from synthmill.models.base import GenerativeModel
from synthmill.storage.folder import Folder
from synthmill.training.fit import NOT_IN_RUN_KEY, fresh_model
from synthmill.training.micro import check_micro
from synthmill.training.parallel import local_rows
from synthmill.training.plan import make_plan
from synthmill.training.prepare import (
    Rows,
    check_first_rows,
    check_streamed,
    prepare_rows,
    resolve,
    scan_rows,
)

LEAST_PARTS = 8
"""Fewer parts of a source are gone over by one process in about the time that others take to start."""


@dataclass(frozen=True)
class Prepared:
    """All that training needs."""

    recipe: Recipe
    """Resolved."""
    store: Store
    rows: Rows
    run_key: str

    @property
    def run_name(self) -> str:
        """Folder of the run below `runs/`: the same for the same work, so that it resumes after a crash."""
        return f"{self.recipe.name}-{self.run_key[:12]}"

    @property
    def steps(self) -> int:
        """Steps of the whole run, as they are planned; 1 for a model without steps.

        Raises:
            RecipeError: more workers than a batch can be divided among.
        """
        model: GenerativeModel = fresh_model(self.recipe, self.rows.codec.layout)
        stages = model.stages()
        if not stages:
            return 1
        training, rows = self.recipe.training, self.rows.train_rows
        plan = make_plan(training, stages, rows, model.row_group)
        # The most that there may ever be: workers that join later must find rows to compute.
        local_rows(plan.batch_rows, model.row_group, 0, training.most_workers)
        return plan.total_steps


@dataclass(frozen=True)
class Unscanned:
    """A job whose source is so large that tasks scan it; what else can be wrong was looked at."""

    recipe: Recipe
    """Resolved."""
    store: Store
    scan: Scan

    def scanned(self, runner: Runner = in_turn) -> Prepared:
        """Go over the source.

        Raises:
            UserError: anything the user can mend.
        """
        self.scan.runner = runner
        rows = scan_rows(self.recipe, self.scan)
        # Nobody else goes over it in passes.
        self.scan.runner = in_turn
        return _prepared(self.recipe, self.store, rows)


def prepare(recipe: Recipe, store_uri: str) -> Prepared:
    """Resolve, probe the store for writing, read, split and fit the codec on the train split.

    Raises:
        UserError: anything the user can mend.
    """
    begun = begin(recipe, store_uri)
    return begun.scanned() if isinstance(begun, Unscanned) else begun


def begin(recipe: Recipe, store_uri: str) -> Prepared | Unscanned:
    """As `prepare`, up to where tasks can do the rest sooner.

    Raises:
        UserError: anything the user can mend; of a source for tasks, what its first rows show.
    """
    recipe = resolve(recipe)
    if recipe.gates != "default":
        # A gates file is wrong before training, not after. Importing what knows it takes longer than a small
        # training: gates know every metric.
        from synthmill.evaluation.gates import load_gates

        load_gates(recipe.gates)
    store = Store(store_uri, recipe.storage)
    # A store that can't be written is known before the source is read, which may take minutes.
    store.root.probe_write()
    scan = _scan(recipe, store)
    if scan is not None and scan.weight_parts >= LEAST_PARTS:
        check_first_rows(recipe, scan)
        return Unscanned(recipe, store, scan)
    return _prepared(recipe, store, _rows(recipe, store, scan))


def _prepared(recipe: Recipe, store: Store, rows: Rows) -> Prepared:
    recipe = rows.settled(recipe)
    if recipe.training.micro_batch_rows is not None:
        # What it can't be used with depends on the model, which only the encoded columns define.
        check_micro(fresh_model(recipe, rows.codec.layout), recipe.training)
    return Prepared(recipe, store, rows, run_key(recipe, rows.source, is_scanned=rows.divided is not None))


def read_rows(recipe: Recipe, store: Store) -> Rows:
    """Read, split and encode the source of a resolved recipe: whole, or in blocks where it is too large.

    Raises:
        UserError: anything the user can mend.
    """
    return _rows(recipe, store, _scan(recipe, store))


def _scan(recipe: Recipe, store: Store) -> Scan | None:
    """The source of a resolved recipe where it is too large to be loaded."""
    scan = scan_if_large(recipe.data, store=store)
    if scan is not None:
        check_streamed(recipe)
    return scan


def _rows(recipe: Recipe, store: Store, scan: Scan | None) -> Rows:
    if scan is None:
        return prepare_rows(recipe, read_source(recipe.data, store=store))
    return scan_rows(recipe, scan)


def run_key(recipe: Recipe, source: Source, *, is_scanned: bool = False) -> str:
    """SHA-256 of what determines the model: the same names the same run, and finds its checkpoints."""
    plain = dump(recipe)
    # Where and how bytes are stored changes no model.
    plain.pop("storage")
    # Whether it was asked for or chosen, a scan gives the same model.
    plain["data"].pop("stream", None)
    plain["training"] = {
        name: value for name, value in plain["training"].items() if name not in NOT_IN_RUN_KEY
    }
    rules = {name: dump(rule) for name, rule in source.rules.items()}
    facts = {"recipe": plain, "rules": rules, "source": source.sha256, "code": synthmill.__version__}
    return fingerprint({**facts, "reading": "scan/1"} if is_scanned else facts)


def checkpoints_in(run: Folder) -> Folder:
    """The folder of a run's checkpoints."""
    return run.child("checkpoints")
