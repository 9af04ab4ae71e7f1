"""Training in this process, without Ray and without a store: recipe and rows in, artifact out."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from synthmill.catalog.artifact import Artifact
from synthmill.config import Recipe
from synthmill.data.readers.base import read_source
from synthmill.data.scan.choice import scan_if_large
from synthmill.data.scratch import VARIABLE
from synthmill.data.shards import EncodedRows
from synthmill.errors import RecipeError, ResourceError
from synthmill.library.display import Bar
from synthmill.library.frames import read_frame
from synthmill.library.recipes import Task
from synthmill.storage.folder import Folder
from synthmill.training.artifact import build_artifact, fitted
from synthmill.training.encoding import reads_by_code, write_shards
from synthmill.training.fit import fit, fresh_model
from synthmill.training.parallel import Single
from synthmill.training.plan import make_plan
from synthmill.training.prepare import Rows, check_streamed, prepare_rows, resolve, scan_rows


def train_here(task: Task, *, progress: bool | None) -> Artifact:
    """Train on the device that the recipe names; Ctrl-C ends it early with the best weights until then.

    Raises:
        UserError: anything the caller can mend, before the first step.
        TrainingError: the run diverged.
    """
    recipe = resolve(task.recipe)
    rows = read_rows(recipe, task)
    recipe = rows.settled(recipe)
    device = device_of(recipe)
    with Bar(_planned_steps(recipe, rows), progress) as bar, _encoded(recipe, rows) as shards:
        for note in rows.notes:
            bar.log({"message": note})
        outcome = fit(
            recipe,
            rows.tables.train,
            rows.tables.validation,
            rows.codec,
            parallel=Single(device),
            reporter=bar,
            keep_interrupted=True,
            most_threads=processors(),
            shards=shards,
        )
        if outcome.interrupted:
            bar.say(f"stopped by hand after {outcome.steps:,} steps; the best weights until then are kept")
    return build_artifact(recipe, rows, fitted(outcome))


def read_rows(recipe: Recipe, task: Task) -> Rows:
    """The rows of a task, split and with their codec: in blocks where `data.stream`, or their size, says so.

    Raises:
        UserError: anything the caller can mend.
    """
    if task.frame is not None:
        if recipe.data.stream == "always":
            raise RecipeError(
                "rows in memory are not read in blocks; leave it out, or give the path of a file",
                field="data.stream",
            )
        return prepare_rows(recipe, read_frame(task.frame, recipe.data, field="data"))
    scan = scan_if_large(recipe.data)
    if scan is None:
        return prepare_rows(recipe, read_source(recipe.data))
    check_streamed(recipe)
    return scan_rows(recipe, scan)


@contextmanager
def _encoded(recipe: Recipe, rows: Rows) -> Iterator[EncodedRows | None]:
    """The training rows of a source that is read in blocks, on disk for the time being; None: they are in
    memory."""
    if rows.divided is None:
        yield None
        return
    by_code = reads_by_code([fresh_model(recipe, rows.codec.record_layout())])
    with tempfile.TemporaryDirectory(prefix="synthmill-", dir=os.environ.get(VARIABLE)) as folder:
        index = write_shards(rows, Folder(folder), key="", by_code=by_code)
        yield EncodedRows(Path(folder), index)


def device_of(recipe: Recipe) -> torch.device:
    """Where to compute; ResourceError when a GPU is asked for that is not there."""
    asked, there = recipe.training.device, torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise ResourceError("no CUDA device on this machine; choose cpu or auto", field="training.device")
    return torch.device("cuda" if there and asked != "cpu" else "cpu")


def processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _planned_steps(recipe: Recipe, rows: Rows) -> int:
    model = fresh_model(recipe, rows.codec.layout)
    stages = model.stages()
    if not stages:
        return 1
    plan = make_plan(recipe.training, stages, rows.train_rows, model.row_group)
    return plan.total_steps
