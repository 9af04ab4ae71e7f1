"""Training on Ray from the library: the job's own steps, in a store of the moment, and nothing published."""

import tempfile
import uuid

from synthmill.catalog.store import Store
from synthmill.config import Recipe, dump, parse_model
from synthmill.library.model import Model
from synthmill.library.recipes import Task
from synthmill.library.training import read_rows
from synthmill.runtime import cluster
from synthmill.runtime.fit import Crew, fit
from synthmill.runtime.prepare import Prepared, run_key
from synthmill.training.artifact import build_artifact
from synthmill.training.prepare import resolve


def train_on_ray(task: Task, workers: int | None) -> Model:
    """The same model as training in this process gives, computed by Ray's workers.

    Raises:
        UserError: anything the caller can mend; more workers than the cluster has.
        TrainingError: the run diverged, or lost its workers too often.
    """
    recipe = resolve(task.recipe)
    if workers is not None:
        # Through the parser, so that no number of workers passes that a recipe would refuse.
        raw = dump(recipe)
        raw["training"]["workers"] = workers
        recipe = parse_model(Recipe, raw)
    rows = read_rows(recipe, task)
    recipe = rows.settled(recipe)
    key = run_key(recipe, rows.source, is_scanned=rows.divided is not None)
    with tempfile.TemporaryDirectory(prefix="synthmill-") as folder, cluster.session():
        store = Store(folder, recipe.storage)
        prepared = Prepared(recipe, store, rows, key)
        with store.begin_run(prepared.run_name, run_key=key, run_id=uuid.uuid4().hex) as run:
            model = fit(prepared, run.folder, Crew(recipe.training))
    return Model.of(build_artifact(recipe, rows, model))
