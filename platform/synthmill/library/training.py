"""Training in this process, without Ray and without a store: recipe and rows in, artifact out."""

import os

import torch

from synthmill.catalog.artifact import Artifact
from synthmill.config import Recipe
from synthmill.data.readers.base import read_source
from synthmill.errors import ResourceError
from synthmill.library.display import Bar
from synthmill.library.frames import read_frame
from synthmill.library.recipes import Task
from synthmill.training.artifact import build_artifact, fitted
from synthmill.training.fit import fit, fresh_model
from synthmill.training.parallel import Single
from synthmill.training.plan import make_plan
from synthmill.training.prepare import Rows, prepare_rows, resolve


def train_here(task: Task, *, progress: bool | None) -> Artifact:
    """Train on the device that the recipe names; Ctrl-C ends it early with the best weights until then.

    Raises:
        UserError: anything the caller can mend, before the first step.
        TrainingError: the run diverged.
    """
    recipe = resolve(task.recipe)
    frame = task.frame
    source = read_source(recipe.data) if frame is None else read_frame(frame, recipe.data, field="data")
    rows = prepare_rows(recipe, source)
    recipe = rows.settled(recipe)
    device = device_of(recipe)
    with Bar(_planned_steps(recipe, rows), progress) as bar:
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
        )
        if outcome.interrupted:
            bar.say(f"stopped by hand after {outcome.steps:,} steps; the best weights until then are kept")
    return build_artifact(recipe, rows, fitted(outcome))


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
    plan = make_plan(recipe.training, stages, rows.tables.train.num_rows, model.row_group)
    return plan.total_steps
