"""A recipe and split rows in, a trained model out: build, encode, train with checks. Knows no Ray and no
store but `checkpoints`."""

import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import torch

from synthmill.config import Recipe, dump, fingerprint
from synthmill.data.codecs.base import Codec
from synthmill.data.layout import Layout
from synthmill.data.shards import EncodedRows
from synthmill.models.base import GenerativeModel, build
from synthmill.training.checker import copied
from synthmill.training.checkpoint import Checkpoints
from synthmill.training.loop import Outcome, train
from synthmill.training.parallel import Parallel
from synthmill.training.quality.base import Cost, Elsewhere, QualityCheck, quality_check
from synthmill.training.reporter import Reporter
from synthmill.training.rng import key
from synthmill.training.rows import InMemory, TrainingRows
from synthmill.training.run_state import Orders
from synthmill.training.sharded import Sharded

NOT_IN_RUN_KEY = (
    "workers",
    "resize_seconds",
    "threads",
    "resume",
    "checkpoint_seconds",
    "max_failures",
    "channels_last",
    "compile",
    "cuda_graphs",
    "micro_batch_rows",
)
"""Training fields that don't change what a run computes, but for rounding: a run may be resumed with other
values of them."""


def fit(
    recipe: Recipe,
    train_rows: pa.Table,
    validation: pa.Table,
    codec: Codec,
    *,
    parallel: Parallel,
    reporter: Reporter,
    checkpoints: Checkpoints | None = None,
    should_stop: Callable[[], bool] | None = None,
    orders: Orders | None = None,
    keep_interrupted: bool = False,
    most_threads: int = 1,
    shards: EncodedRows | None = None,
) -> Outcome:
    """Train the model of a resolved recipe in this process on all of `train_rows`; `validation` chooses among
    the checked weights.

    `shards`: all training rows, encoded and on disk; `train_rows` and `validation` are then samples, which
    checks compare with. `keep_interrupted`: Ctrl-C ends the run as a time limit does. `most_threads` may be
    taken where the recipe states no number.
    """
    model = fresh_model(recipe, codec.layout).to(parallel.device)
    encoded = codec.encode(train_rows)
    # Whole on the device: tables and small images fit, and permuting them there needs no loader processes.
    data: TrainingRows = (
        InMemory(encoded, parallel.device) if shards is None else Sharded(shards, parallel.device)
    )
    kind = model.modalities[0] if recipe.data.kind == "auto" else recipe.data.kind

    check = None
    if parallel.rank == 0:
        check = quality_check(kind, codec, train_rows, validation, encoded, seed=recipe.training.seed)
    del encoded  # On a GPU it would be a second copy.
    quality = _known_to_all(check, parallel)
    # Models in closed form read the rows once; there is nothing to loop over.
    if not model.stages():
        return _fit_closed(model, data, quality, reporter, seed=recipe.training.seed)
    return train(
        model,
        data,
        recipe.training,
        parallel=parallel,
        reporter=reporter,
        checkpoints=checkpoints,
        quality=quality,
        should_stop=should_stop,
        orders=orders,
        run_key=run_key(recipe, codec),
        keep_interrupted=keep_interrupted,
        most_threads=most_threads,
    )


def _known_to_all(check: QualityCheck | None, parallel: Parallel) -> QualityCheck | Elsewhere | None:
    """Rank 0's check, which others know of. It alone scores, and making one reads all rows it is given."""
    # Others must know when a check is due, and so what one costs.
    told = (-1.0, 0.0) if check is None else tuple(check.cost)
    # As exact as rank 0 has it, or checks might be due at another step.
    cost = torch.tensor(told, dtype=torch.float64, device=parallel.device)
    parallel.broadcast_(cost)
    if parallel.rank == 0:
        return check
    steps, rows = cost.tolist()
    return Elsewhere(Cost(steps, rows)) if steps >= 0 else None


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


def _fit_closed(
    model: GenerativeModel,
    data: TrainingRows,
    quality: QualityCheck | Elsewhere | None,
    reporter: Reporter,
    *,
    seed: int,
) -> Outcome:
    """A model without stages reads the rows once; its only check is of what it is then."""
    started = time.monotonic()
    with torch.no_grad():
        model.fit_closed(data.fitted(model.most_fitted_rows, seed))
    model.eval()
    history: list[dict[str, Any]] = []
    best = None
    if isinstance(quality, QualityCheck):
        with torch.inference_mode():
            scores = quality(model)
        best = {"step": 0, **scores}
        history.append({"step": 0, "quality": scores})
        reporter.log(history[0])
    return Outcome(copied(model), history, 0, time.monotonic() - started, best)
