"""What a trial of a search does: train a configuration to a share of its steps, sample, score, report.

Every look is a training of its own, whose schedules fit its length: the last one is what `synthmill train`
would make of the same recipe, so that its weights can be published as they are. Checkpoints lie in the
search's folder, and a process that takes over goes on from them.
"""

import atexit
import gc
import json
import os
import random
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import safetensors.torch
import torch

from synthmill.config import Recipe, parse_model
from synthmill.data.codecs.base import Codec, codec_from_files
from synthmill.data.schema import Rules
from synthmill.data.scratch import opened_shards
from synthmill.data.shards import EncodedRows, ShardIndex
from synthmill.data.split import SplitTables
from synthmill.errors import SynthmillError
from synthmill.generation.sampler import Sampler, one_thread
from synthmill.models.base import build, model_class
from synthmill.runtime import cluster
from synthmill.runtime.encode import shards_in
from synthmill.runtime.fold import other_fold
from synthmill.runtime.history import TensorBoardFolder
from synthmill.runtime.tasks import line_of
from synthmill.runtime.tune_tracking import thinned
from synthmill.storage.folder import Folder
from synthmill.training.artifact import Fitted, fitted
from synthmill.training.checkpoint import Checkpoints
from synthmill.training.fit import fit, fresh_model
from synthmill.training.parallel import Parallel, Single
from synthmill.training.plan import make_plan
from synthmill.training.reporter import Reporter, Silent
from synthmill.tuning.scoring import Scorer, Verdict
from synthmill.tuning.search import Proposal
from synthmill.tuning.space import make_space

_until_exit = ExitStack()
atexit.register(_until_exit.close)
WEIGHTS, HISTORY = "weights.safetensors", "fitted.json"
LEAST_ROWS = 500
"""Training rows that a cheap look has at least."""
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


@dataclass(frozen=True)
class Shared:
    """What all trials of a search share; sent to each process once."""

    recipe: Mapping[str, Any]
    """The recipe that is searched around, resolved."""
    folder: Folder
    tables: SplitTables
    """Without the holdout: no trial can look at it."""
    codecs: Mapping[str, tuple[dict[str, Any], dict[str, torch.Tensor]]]
    """By encoding."""
    missing: tuple[str, ...]
    """Terms of the objective that the source can't give."""
    environment: Mapping[str, str]
    resources: Mapping[str, float] = field(default_factory=dict)
    """Of each process of a trial, as Ray names them."""
    rules: Rules = field(default_factory=dict)
    """What the schema file states, by column."""
    shards: Mapping[str, ShardIndex] = field(default_factory=dict)
    """By encoding: all training rows of a source that is read in blocks, encoded, in the search's folder; the
    tables are then samples. None: they hold all rows."""
    fold: int | None = None
    """Which other division of train and validation rows these are; None: the recipe's."""


@dataclass(frozen=True)
class Look:
    """What came of training a configuration to a share."""

    verdict: Verdict | None
    """None: its time ended, and what there was is not worth a look."""
    share: float
    """Of the training that was done: less than was asked for where time ended first."""
    seconds: float
    cut: bool
    history: list[Mapping[str, Any]] = field(default_factory=list)
    """Of the training, for trackers."""


def run_trial(config: dict[str, Any], shared: Shared) -> None:
    """The function that Ray Tune runs: a report after each look, or one that says what went wrong."""
    from ray import tune

    proposal: Proposal = config["proposal"]
    cluster.adopt(shared.environment)
    for share in proposal.shares[proposal.done :]:
        try:
            look = take_look(shared, proposal, share)
        except Exception as fault:
            # One bad configuration must not end the search; what was wrong with it stands in the journal.
            tune.report({"number": proposal.number, "failed": reason_of(fault)})
            return
        if look.verdict is None:
            tune.report({"number": proposal.number, "failed": "the time budget ended", "cut": True})
            return
        # As text: Ray flattens nested results, and shows each of their numbers as a column.
        said = {"share": look.share, "spent": look.seconds, "cut": look.cut, "verdict": vars(look.verdict)}
        said["history"] = thinned(look.history)
        tune.report({"number": proposal.number, "look": json.dumps(said)})


def reason_of(fault: BaseException) -> str:
    """One line for the journal."""
    line = line_of(fault)
    if isinstance(fault, MemoryError) or any(text in line.lower() for text in OUT_OF_MEMORY):
        return f"out of memory: {line}"
    return line if isinstance(fault, SynthmillError) else f"{type(fault).__name__}: {line}"


def take_look(
    shared: Shared, proposal: Proposal, share: float, *, device: torch.device | None = None
) -> Look:
    """Train, keep the weights if they may be published, and score a sample."""
    started = time.monotonic()
    reset_process()
    if proposal.fold is not None:
        shared = other_fold(shared, proposal.fold)
    # By the clock of the day: workers of the trial may be on other machines.
    deadline = None if proposal.seconds is None else time.time() + proposal.seconds
    if shared.recipe["training"]["workers"] > 1:
        # Ray Train takes seconds to import, which trials of one process have no use for.
        from synthmill.runtime.trial_group import train_in_group

        trained, cut = train_in_group(shared, proposal, share, deadline)
    else:
        alone = Single(device or _device())
        trained, cut = train_share(shared, proposal, share, alone, deadline)
    if cut and not proposal.partial:
        return Look(None, share, time.monotonic() - started, cut)
    # What was cut off in a look at a ninth says even less than a ninth.
    done = share * 0.5 if cut else share
    if proposal.keep:
        _keep(trial_folder(shared.folder, proposal.number), trained)
    verdict = _score(shared, proposal, trained)
    return Look(verdict, done, time.monotonic() - started, cut, list(trained.history))


def _score(shared: Shared, proposal: Proposal, trained: Fitted) -> Verdict:
    """What a sample of the trained model is worth."""
    whole, codec = _recipe_of(shared, proposal)
    model = build(whole.model.name, whole.model.config, codec.layout)
    model.load_state_dict(dict(trained.weights))
    model.eval()
    with one_thread():
        sampler = Sampler(model, codec)
        rows = whole.tune.sample_rows
        parts = list(sampler.seeded(rows, seed=proposal.seed, path=(0, 0)))
        first, tables = 0, []
        for part in parts:
            tables.append(codec.decode(part, first_row=first))
            first += part.num_rows
    return _scorer(shared, codec, whole.data.kind)(pa.concat_tables(tables))


def _recipe_of(shared: Shared, proposal: Proposal) -> tuple[Recipe, Codec]:
    """The recipe that trains a proposal to the end, and the codec of its rows."""
    whole = make_space(parse_model(Recipe, shared.recipe)).recipe_of(proposal.point)
    # A trial's checkpoints are its own: there are none to insist on before it, and those there are count.
    own = {"seed": proposal.seed, "resume": "if-possible"}
    training = whole.training.model_copy(update=own)
    codec = codec_from_files(*shared.codecs[model_class(whole.model.name).encoding])
    return whole.model_copy(update={"training": training}), codec


def train_share(
    shared: Shared, proposal: Proposal, share: float, parallel: Parallel, deadline: float | None
) -> tuple[Fitted, bool]:
    """Train a share of a configuration in this process, which may be one of several.

    The model (weights on rank 0 alone), and whether `deadline` (Unix time) cut it off.
    """
    whole, codec = _recipe_of(shared, proposal)
    recipe, rows = shortened(
        whole, shared.tables.train, codec, share, train_rows=shared.tables.split.counts["train"]
    )
    encoding = model_class(whole.model.name).encoding
    # One process writes: the records of all ranks are the same.
    events = None
    if parallel.rank == 0:
        # A folder for each look: steps of one start at 0 again, and TensorBoard would join them to a zigzag.
        looks = trial_folder(shared.folder, proposal.number).child("looks", f"{round(1000 * share):04d}")
        events = TensorBoardFolder(looks)
    reporter: Reporter = events or Silent()
    ended = False

    def late() -> bool:
        nonlocal ended
        ended = deadline is not None and time.time() >= deadline
        return ended

    try:
        outcome = fit(
            recipe,
            rows,
            shared.tables.validation,
            codec,
            parallel=parallel,
            reporter=reporter,
            checkpoints=Checkpoints(look_folder(shared.folder, proposal.number, share), keep=1),
            should_stop=late,
            most_threads=cluster.threads_here() if _in_worker() else 1,
            shards=_opened(shared, encoding) if shared.shards else None,
        )
    finally:
        if events is not None:
            events.close()
    return fitted(outcome, workers=parallel.world), ended


def _in_worker() -> bool:
    """Whether Ray gave this process its place; a look can also be taken without."""
    return bool(ray._private.worker.global_worker.mode == ray.WORKER_MODE)


def _device() -> torch.device:
    return torch.device("cuda" if _in_worker() and ray.get_gpu_ids() else "cpu")


_shards: dict[tuple[str, str], EncodedRows] = {}


def _opened(shared: Shared, encoding: str) -> EncodedRows:
    """The encoded rows, checked once a process: every look reads the same."""
    index = shared.shards[encoding]
    folder = shards_in(shared.folder).child(encoding)
    key = folder.uri, index.key
    if key not in _shards:
        # A copy of this process alone: others of its node end at other times, and remove theirs.
        opened = opened_shards(folder, index, owner=str(os.getpid()))
        _shards[key] = _until_exit.enter_context(opened)
    return _shards[key]


def shortened(
    whole: Recipe, train: pa.Table, codec: Codec, share: float, *, train_rows: int | None = None
) -> tuple[Recipe, pa.Table]:
    """A recipe that trains a share of the steps, and the rows that it reads; all of both for 1. `train_rows`
    is how many there are, where `train` is a sample."""
    if share >= 1.0:
        return whole, train
    rows = train
    if whole.tune.fidelity == "rows":
        count = min(train.num_rows, max(LEAST_ROWS, round(share * train.num_rows)))
        # Evenly spread: sources are often sorted.
        rows = train.take(np.linspace(0, train.num_rows - 1, count).astype(np.int64))
    model = fresh_model(whole, codec.layout)
    stages = model.stages()
    training: dict[str, Any] = {}
    if stages:
        plan = make_plan(whole.training, stages, train_rows or train.num_rows, model.row_group)
        # Epochs of fewer rows are shorter: the steps are what is shared out, not the passes.
        training = {"max_steps": max(1, round(share * plan.total_steps)), "max_epochs": 10**6}
    if whole.training.max_seconds is not None:
        training["max_seconds"] = share * whole.training.max_seconds
    return whole.model_copy(update={"training": whole.training.model_copy(update=training)}), rows


def reset_process() -> None:
    """What trials in one process would share, as it is in a fresh one: an actor runs many."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(False)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


_scorers: dict[tuple[str, str, int | None], Callable[[pa.Table], Verdict]] = {}


def _scorer(shared: Shared, codec: Codec, kind: str) -> Callable[[pa.Table], Verdict]:
    """One a process and search: reading the real rows costs as much as a small training."""
    key = (shared.folder.uri, type(codec).__name__, shared.fold)
    if key not in _scorers:
        recipe = parse_model(Recipe, shared.recipe)
        _scorers.clear()
        _scorers[key] = Scorer(recipe, shared.tables, codec, missing=shared.missing)
    return _scorers[key]


def trial_folder(search: Folder, number: int) -> Folder:
    """Where a trial keeps checkpoints, weights and events."""
    return search.child("trials", f"{number:05d}")


def look_folder(search: Folder, number: int, share: float) -> Folder:
    """Where a look keeps its checkpoints; removed with its trial's end."""
    return trial_folder(search, number).child("checkpoints", f"{round(1000 * share):04d}")


def _keep(folder: Folder, model: Fitted) -> None:
    folder.write_bytes(WEIGHTS, safetensors.torch.save(dict(model.weights)))
    folder.write_bytes(HISTORY, json.dumps({"history": model.history, "summary": model.summary}).encode())


def kept(search: Folder, number: int) -> Fitted:
    """The newest weights of a trial; MissingError: they were not kept."""
    folder = trial_folder(search, number)
    said = folder.read_json(HISTORY)
    return Fitted(safetensors.torch.load(folder.read_bytes(WEIGHTS)), said["history"], said["summary"])


def without_holdout(tables: SplitTables) -> SplitTables:
    """What trials may see."""
    return replace(tables, holdout=tables.holdout.slice(0, 0))
