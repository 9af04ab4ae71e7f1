"""A recipe and split tables in, a trained model out: build, encode, train with checks. Knows no Ray and no
store but `checkpoints`."""

import time
from collections.abc import Callable
from typing import Any, Protocol

import pyarrow as pa
import torch

from synthmill.config import Recipe, dump, fingerprint
from synthmill.data.batch import Batch
from synthmill.data.layout import Layout
from synthmill.models.base import GenerativeModel, build
from synthmill.training.checkpoint import Checkpoints
from synthmill.training.image_quality import image_quality
from synthmill.training.loop import Outcome, Quality, train
from synthmill.training.parallel import Parallel
from synthmill.training.quality import table_quality
from synthmill.training.reporter import Reporter
from synthmill.training.rng import key

NOT_IN_RUN_KEY = (
    "workers",
    "threads",
    "resume",
    "checkpoint_seconds",
    "max_failures",
    "channels_last",
    "compile",
    "cuda_graphs",
)
"""Training fields that don't change what a run computes, but for rounding: a run goes on with other values of
them."""


class Codec(Protocol):
    """What is needed of `data.codec.Codec`."""

    layout: Any

    def encode(self, table: pa.Table) -> Batch: ...
    def decode(self, batch: Batch, *, first_row: int) -> pa.Table: ...
    def to_files(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]: ...


def fit_table(
    recipe: Recipe,
    train_table: pa.Table,
    validation: pa.Table,
    codec: Codec,
    *,
    parallel: Parallel,
    reporter: Reporter,
    checkpoints: Checkpoints | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Train `recipe.model` on all rows of `train_table`; `validation` chooses among the checked weights."""
    if recipe.training.threads is not None:
        torch.set_num_threads(recipe.training.threads)
    model = fresh_model(recipe, codec.layout).to(parallel.device)
    data = codec.encode(train_table).to(parallel.device)
    quality = _quality(codec, train_table, validation, data, seed=recipe.training.seed)
    if not model.stages():
        return _fit_closed(model, data, quality, reporter)
    return train(
        model,
        data,
        recipe.training,
        parallel=parallel,
        reporter=reporter,
        checkpoints=checkpoints,
        quality=quality,
        should_stop=should_stop,
        run_key=run_key(recipe, codec),
    )


def _quality(
    codec: Codec, train_table: pa.Table, validation: pa.Table, data: Batch, *, seed: int
) -> Quality | None:
    if codec.layout.kind == "pixels":
        return image_quality(codec.layout, data, codec.encode(validation), seed=seed)
    return table_quality(codec, train_table, validation, seed=seed)


def fresh_model(recipe: Recipe, layout: Layout) -> GenerativeModel:
    """The recipe's model with the initial weights that its seed gives."""
    torch.manual_seed(key(recipe.training.seed, "weights"))
    return build(recipe.model.name, recipe.model.config, layout)


def run_key(recipe: Recipe, codec: Codec) -> str:
    """SHA-256 of what determines the weights, but for the rows; the codec too, as codes of the same width can
    mean other values."""
    training = {name: value for name, value in dump(recipe.training).items() if name not in NOT_IN_RUN_KEY}
    return fingerprint(
        {
            "data": dump(recipe.data),
            "model": dump(recipe.model),
            "training": training,
            "codec": codec.to_files()[0],
        }
    )


def _fit_closed(model: GenerativeModel, data: Batch, quality: Quality | None, reporter: Reporter) -> Outcome:
    started = time.monotonic()
    with torch.no_grad():
        model.fit_closed([data])
    model.eval()
    history: list[dict[str, Any]] = []
    best = None
    if quality is not None:
        with torch.inference_mode():
            found = quality(model)
        best = {"step": 0, **found}
        history.append({"step": 0, "quality": found})
        reporter.log(history[0])
    state = {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}
    return Outcome(state, history, 0, time.monotonic() - started, best)
