"""Training on Ray from the library: the job that `synthmill train` runs, in a store of the moment."""

import tempfile
import uuid
from dataclasses import replace
from typing import Any

from synthmill.catalog.artifact import Artifact, read_artifact
from synthmill.catalog.store import Version
from synthmill.config import Recipe, dump, fingerprint, parse_model
from synthmill.data.readers.base import Source
from synthmill.library.frames import as_file, read_frame, to_table
from synthmill.library.model import Model
from synthmill.library.recipes import Task
from synthmill.library.training import resolve
from synthmill.runtime.card import model_card
from synthmill.runtime.train import train


def train_on_ray(task: Task, workers: int | None) -> Model:
    """The model that the job publishes, taken out of a store that is gone afterwards.

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
    with tempfile.TemporaryDirectory(prefix="synthmill-") as store:
        if task.frame is None:
            return Model.of(read_artifact(_train(recipe, store)))
        source = read_frame(task.frame, recipe.data, field="data")
        with as_file(to_table(task.frame, field="data")) as path:
            data = recipe.data.model_copy(update={"source": str(path)})
            version = _train(recipe.model_copy(update={"data": data}), store)
            return Model.of(_from_memory(read_artifact(version), source))


def _train(recipe: Recipe, store: str) -> Version:
    return train(recipe, store, run_id=uuid.uuid4().hex)


def _from_memory(artifact: Artifact, source: Source) -> Artifact:
    """The artifact as training in this process would have made it: the file that took the rows to the
    cluster is gone and means nothing to anybody."""
    config: dict[str, Any] = dict(artifact.config)
    config["source"] = {**config["source"], "uri": source.uri, "sha256": source.sha256}
    config["split"] = {**config["split"], "source_sha256": source.sha256}
    config["recipe"] = {**config["recipe"], "data": {**config["recipe"]["data"], "source": source.uri}}
    config["recipe_fingerprint"] = fingerprint(config["recipe"])
    card = model_card(parse_model(Recipe, config["recipe"]), config)
    return replace(artifact, config=config, card=card)
