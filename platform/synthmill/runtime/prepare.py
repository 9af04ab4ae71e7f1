"""The first step of a training job: everything that can be wrong with a recipe surfaces here, before
workers start."""

from dataclasses import dataclass

import synthmill
from synthmill.catalog.store import Store
from synthmill.config import AUTO, Recipe, dump, fingerprint
from synthmill.data.readers.base import Source, read_source
from synthmill.data.scan.choice import scan_if_large
from synthmill.errors import RecipeError
from synthmill.models.base import GenerativeModel, model_class
from synthmill.storage.folder import Folder
from synthmill.training.fit import NOT_IN_RUN_KEY, fresh_model
from synthmill.training.micro import check_micro
from synthmill.training.parallel import local_rows
from synthmill.training.plan import make_plan
from synthmill.training.prepare import Rows, prepare_rows, resolve, scan_rows


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


def prepare(recipe: Recipe, store_uri: str, *, may_scan: bool = True) -> Prepared:
    """Resolve, probe the store for writing, read, split and fit the codec on the train split. Without
    `may_scan` the source is loaded, however large it is.

    Raises:
        UserError: anything the user can mend.
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
    rows = read_rows(recipe, store, may_scan=may_scan)
    recipe = rows.settled(recipe)
    if recipe.training.micro_batch_rows is not None:
        # What it can't be used with depends on the model, which only the encoded columns define.
        check_micro(fresh_model(recipe, rows.codec.layout), recipe.training)
    return Prepared(recipe, store, rows, run_key(recipe, rows.source, is_scanned=rows.divided is not None))


def read_rows(recipe: Recipe, store: Store, *, may_scan: bool = True) -> Rows:
    """Read, split and encode the source of a resolved recipe: whole, or in blocks where it is too large.

    Raises:
        UserError: anything the user can mend.
    """
    scan = scan_if_large(recipe.data, store=store) if may_scan else None
    if scan is not None and recipe.model.name != AUTO and model_class(recipe.model.name).copies_training_rows:
        raise RecipeError(
            f"{recipe.model.name} keeps every training row, and this source is read in blocks, as data.stream"
            " says; choose another model, or data.stream: never",
            field="model.name",
        )
    if scan is not None and recipe.data.group_by is not None:
        raise RecipeError(
            "the source takes more than half of the memory and would be read in blocks, and sequences are put"
            " in order in memory; set it to never to load it all the same",
            field="data.stream",
        )
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
