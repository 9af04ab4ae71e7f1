"""Training in this process, without Ray and without a store: recipe and rows in, artifact out."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch

from synthmill.catalog.artifact import Artifact
from synthmill.config import ModelConfig, Recipe, dump, fingerprint, parse_model
from synthmill.data.codecs.base import Codec, codec_class
from synthmill.data.readers.base import Source, read_source
from synthmill.data.split import SplitTables, split_table
from synthmill.errors import ResourceError
from synthmill.library.display import Bar
from synthmill.library.frames import read_frame
from synthmill.library.recipes import Task
from synthmill.models.base import model_class
from synthmill.runtime.card import model_card
from synthmill.training.fit import fit_table, fresh_model
from synthmill.training.loop import Outcome
from synthmill.training.parallel import Single
from synthmill.training.plan import make_plan


@dataclass(frozen=True)
class Ready:
    """All that training needs: a user's mistakes have surfaced by now."""

    recipe: Recipe
    source: Source
    tables: SplitTables
    codec: Codec


def train_here(task: Task, *, progress: bool | None) -> Artifact:
    """Train on the device that the recipe names; Ctrl-C ends it early with the best weights until then.

    Raises:
        UserError: anything the caller can mend, before the first step.
        TrainingError: the run diverged.
        KeyboardInterrupt: at the second Ctrl-C.
    """
    ready = prepare(task)
    device = device_of(ready.recipe)
    with Bar(_planned_steps(ready), progress) as bar:
        for note in ready.source.notes:
            bar.log({"message": note})
        with stoppable(bar.say) as stopped:
            outcome = fit_table(
                ready.recipe,
                ready.tables.train,
                ready.tables.validation,
                ready.codec,
                parallel=Single(device),
                reporter=bar,
                should_stop=stopped.is_set,
            )
    return artifact_of(ready, outcome, interrupted=stopped.is_set())


def prepare(task: Task) -> Ready:
    """Resolve the recipe, read, split, and fit the codec on the train split."""
    recipe = resolve(task.recipe)
    frame = task.frame
    source = read_source(recipe.data) if frame is None else read_frame(frame, recipe.data, field="data")
    tables = split_table(source.table, recipe.data.split, sha256=source.sha256)
    encoding = model_class(recipe.model.name).encoding
    codec = codec_class(encoding).fit(tables.train, recipe.data, source.rules)
    return Ready(recipe, source, tables, codec)


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with the model's own defaults and the kind of data it learns filled in."""
    cls = model_class(recipe.model.name)
    config = parse_model(cls.Config, dict(recipe.model.config), prefix="model.config")
    auto = recipe.data.kind == "auto"
    data = recipe.data.model_copy(update={"kind": cls.modalities[0]}) if auto else recipe.data
    return recipe.model_copy(
        update={"model": ModelConfig(name=recipe.model.name, config=dump(config)), "data": data}
    )


def device_of(recipe: Recipe) -> torch.device:
    """Where to compute; ResourceError when a GPU is asked for that is not there."""
    asked, there = recipe.training.device, torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise ResourceError("no CUDA device on this machine; choose cpu or auto", field="training.device")
    return torch.device("cuda" if there and asked != "cpu" else "cpu")


@contextmanager
def stoppable(say: Callable[[str], None]) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second one raises KeyboardInterrupt.

    Only the main thread gets signals; elsewhere, nothing changes."""
    stopped = threading.Event()

    def stop(signum: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        say("stopping after this step and keeping the best weights; interrupt again to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def artifact_of(ready: Ready, outcome: Outcome, *, interrupted: bool) -> Artifact:
    """What is saved of a run."""
    recipe = dump(ready.recipe)
    codec_json, codec_tensors = ready.codec.to_files()
    training: dict[str, Any] = {
        "steps": outcome.steps,
        "seconds": outcome.seconds,
        "quality": outcome.best,
        "threads": torch.get_num_threads(),
        "workers": 1,
        **({"interrupted": True} if interrupted else {}),
    }
    source, tables = ready.source, ready.tables
    config = {
        "format": "synthmill.artifact/1",
        "model": ready.recipe.model.name,
        "model_config": recipe["model"]["config"],
        "layout": dump(ready.codec.layout),
        "recipe": recipe,
        "recipe_fingerprint": fingerprint(recipe),
        "source": {"uri": source.uri, "sha256": source.sha256, "rows": source.table.num_rows},
        "rules": {name: dump(rule) for name, rule in source.rules.items()},
        "split": dump(tables.split),
        "training": training,
        "profile": ready.codec.summary(tables.train, ready.recipe.data.split.group),
        "compute_dtype": "float32",
    }
    return Artifact(
        config=config,
        weights=outcome.state_dict,
        codec=codec_json,
        codec_tensors=codec_tensors,
        history=outcome.history,
        card=model_card(ready.recipe, config),
    )


def _planned_steps(ready: Ready) -> int:
    model = fresh_model(ready.recipe, ready.codec.layout)
    stages = model.stages()
    if not stages:
        return 1
    return make_plan(
        ready.recipe.training, stages, ready.tables.train.num_rows, model.row_group, 0
    ).total_steps
