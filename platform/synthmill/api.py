"""The library: the verbs from a notebook or a script, with the same results as the jobs.

>>> import synthmill
>>> model = synthmill.fit(frame, target="income", model="ctgan")       # doctest: +SKIP
>>> rows = model.sample(1000, where="income=>50K", seed=7)             # doctest: +SKIP
>>> report = synthmill.evaluate(rows, train=frame, target="income")    # doctest: +SKIP

`fit`, `load`, `sample` and `evaluate` need no Ray. `train`, `augment` and `evaluate_dataset` are the jobs:
they run on Ray and publish to a store.
"""

import os
import uuid
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Literal

from synthmill.catalog.store import Store, Version
from synthmill.config import StorageConfig
from synthmill.errors import UserError
from synthmill.evaluation.report import Report
from synthmill.library.frames import ArrowStream, Frame
from synthmill.library.model import Model
from synthmill.library.recipes import Overrides, Plain, RecipeLike
from synthmill.library.tables import TablesLike, TablesModel
from synthmill.metrics.base import Profile

if TYPE_CHECKING:
    from synthmill.runtime.evaluate import Evaluation
    from synthmill.runtime.given import GivenRows
    from synthmill.runtime.tune import Tuned

DEFAULT_STORE = "store"


def fit(
    data: ArrowStream | RecipeLike,
    *,
    target: str | None = None,
    model: str | None = None,
    name: str | None = None,
    group: str | None = None,
    group_by: str | Sequence[str] | None = None,
    order_by: str | None = None,
    overrides: Overrides = (),
    ray: bool = False,
    workers: int | None = None,
    progress: bool | None = None,
) -> Model:
    """Train a model on a table in memory, on a path or URI, or as a recipe says.

    Args:
        data: pandas, Polars, PyArrow, DuckDB or whatever has `__arrow_c_stream__`; a file, a folder or a URI;
            a recipe (its path, a shipped name, its content, a `Recipe`).
        target: the column that downstream models predict.
        model: a name in `synthmill/models/`; default: auto, which chooses from the shape of the table and
            `training.max_seconds` (for sequences autoregressive), or what the recipe says.
        name: what `save` publishes it as.
        group: a column whose equal values belong together (a patient, a customer).
        group_by: the column or columns whose equal values make a sequence; whole ones are then learnt.
        order_by: the column that orders the rows of a sequence; default: they are in order.
        overrides: recipe keys: {"training.max_epochs": 20} or ["training.max_epochs=20"]; they win.
        ray, workers: train on Ray, on this machine or the cluster of RAY_ADDRESS, in so many processes.
        progress: show a bar; default: on terminals and in notebooks.

    Rows in memory are all used, but for a tenth that chooses among the weights: set a holdout aside first. Of
    a file a fifth becomes the holdout, as recipes do. Ctrl-C ends training with the best weights so far.

    Raises:
        UserError: anything that can be mended, in one line that names the field and the fix.
        TrainingError: the run diverged.
    """
    from synthmill.library.recipes import read_task

    task = read_task(
        data,
        target=target,
        model=model,
        name=name,
        group=group,
        group_by=group_by,
        order_by=order_by,
        overrides=overrides,
    )
    if ray or workers is not None:
        from synthmill.library.cluster import train_on_ray

        return train_on_ray(task, workers)
    from synthmill.library.training import train_here

    return Model.of(train_here(task, progress=progress))


def load(ref: str, *, store: str | None = None, storage: StorageConfig | None = None) -> Model:
    """A trained model from a store, verified: `load("adult@1", store="s3://bucket/prefix")`. `adult` is the
    newest version; the default store is SYNTHMILL_STORE, or `store`.

    Raises:
        NotFoundError: no such model.
        IntegrityError: a file of the artifact changed.
    """
    return Model.load(Store(_store(store), storage or StorageConfig()).resolve("models", ref, field="model"))


def fit_tables(
    data: TablesLike | Mapping[str, ArrowStream],
    *,
    schema: TablesLike | None = None,
    name: str | None = None,
    overrides: Overrides = (),
    progress: bool | None = None,
) -> TablesModel:
    """Train one model of tables that belong together: `fit_tables({"customers": a, "orders": b})`.

    Args:
        data: frames by name; a schema file, a folder of files, a database, or a schema's content.
        schema: beside frames: their keys and foreign keys, which are guessed where it says nothing.
        name: what `save` publishes it as.
        overrides: keys of the schema: {"training.max_epochs": 20}; they win.
        progress: show a bar; default: on terminals and in notebooks.

    Raises:
        UserError: orphans, duplicate keys, cycles and whatever else can be mended, all at once and before
            training.
        TrainingError: a run diverged.
    """
    from synthmill.library.tables import fit_tables as run

    return run(data, schema=schema, name=name, overrides=overrides, progress=progress)


def load_tables(ref: str, *, store: str | None = None, storage: StorageConfig | None = None) -> TablesModel:
    """A model of several tables from a store, verified; otherwise as `load`.

    Raises:
        NotFoundError: no such model. StorageError: a model of one table.
        IntegrityError: a file of the artifact changed.
    """
    found = Store(_store(store), storage or StorageConfig()).resolve("models", ref, field="model")
    return TablesModel.load(found)


def evaluate(
    synthetic: Frame,
    *,
    train: Frame,
    holdout: Frame | None = None,
    validation: Frame | None = None,
    target: str | None = None,
    group_by: str | Sequence[str] | None = None,
    order_by: str | None = None,
    kind: str | None = None,
    schema: str | PathLike[str] | None = None,
    profile: Profile = "standard",
    gates: str | PathLike[str] = "default",
    baseline: Report | str | PathLike[str] | None = None,
    seed: int = 0,
    sample_rows: int | Literal["all"] | None = None,
    include: Sequence[str] = (),
    secrets: Sequence[str] = (),
    extractor: str = "auto",
    neighbours: bool = False,
) -> Report:
    """Judge synthetic rows, whoever made them, against the real rows they were made from.

    Args:
        train: the rows that the generator learnt from.
        holdout: real rows that it never saw; without them privacy and real-vs-real figures can't be given.
        group_by, order_by: the columns that make sequences of the rows, as for `fit`.
        kind: table, image, ...; default: what the training rows' columns say, and table for files.
        profile: quick, standard, full or audit.
        gates: a gates file, or `default`.
        baseline: an earlier report; figures that got worse are flagged.
        sample_rows: rows a side for figures that can't read everything, or "all".
        include: metrics beside the profile's; secrets: columns that attribute inference tries to learn.
        extractor: what turns images into features; neighbours: show the nearest real images.

    Raises:
        DataError: tables that can't be compared; names the table and column.
    """
    from synthmill.evaluation.evidence.base import Options
    from synthmill.library.judging import Question, judge
    from synthmill.metrics.lib.sequences import SequenceColumns

    if group_by is None and order_by is not None:
        raise UserError("is the order of sequences; name their key in group_by", field="order_by")
    keys = (group_by,) if isinstance(group_by, str) else tuple(group_by or ())
    question = Question(
        target=target,
        sequence=SequenceColumns(keys, order_by) if keys else None,
        kind=kind,
        schema=None if schema is None else fspath(schema),
        profile=profile,
        gates=fspath(gates),
        baseline=baseline,
        seed=seed,
        sample_rows=sample_rows,
        options=Options(
            include=tuple(include), secret=tuple(secrets), extractor=extractor, neighbours=neighbours
        ),
    )
    return judge(synthetic, train, validation, holdout, question)


def train(recipe: RecipeLike, *, store: str | None = None, overrides: Overrides = ()) -> Version:
    """Train a recipe on Ray and publish the model as the next version of its name.

    Raises:
        UserError: anything that can be mended, before workers start.
        TrainingError: the run diverged, or lost its workers too often; the same call resumes from its
            checkpoints.
    """
    from synthmill.library.recipes import read_recipe
    from synthmill.runtime.train import train as run

    return run(read_recipe(recipe, overrides), _store(store), run_id=uuid.uuid4().hex)


def tune(
    data: ArrowStream | RecipeLike,
    *,
    target: str | None = None,
    model: str | Sequence[str] | None = None,
    name: str | None = None,
    group: str | None = None,
    store: str | None = None,
    space: Mapping[str, Plain] | None = None,
    objective: str | Sequence[str] | None = None,
    max_trials: int | None = None,
    time_budget: float | str | None = None,
    sampler: Literal["tpe", "gp", "random"] | None = None,
    overrides: Overrides = (),
) -> "Tuned":
    """Search hyper-parameters on Ray by the quality of what is generated, and publish what is surely better
    than the default, or the default.

    Args:
        data: as for `fit`; rows in memory are written to the store, so that the search can go on later.
        model: a name in `synthmill/models/`, or several that are searched together.
        space: what differs from the space that the models declare: {"learning_rate": {"low": 1e-4, "high":
            1e-2, "log": True}, "training.global_batch_rows": [250, 500], "l2scale": 1e-5}.
        objective: `compound`, or metrics by name; several give a Pareto front.
        max_trials, time_budget: configurations to try, and seconds (or "30m", "2h") for everything.
        overrides: recipe keys, as for `fit`; they win.

    The same call after a crash goes on where the last one was. Ctrl-C publishes the best so far.

    Raises:
        UserError: anything that can be mended, before a trial begins.
        TrainingError: every trial failed.
    """
    from synthmill.library.tuning import tune_task

    return tune_task(
        data,
        target=target,
        model=model,
        name=name,
        group=group,
        store=_store(store),
        settings={
            "space": space,
            "objective": objective,
            "max_trials": max_trials,
            "budget_seconds": time_budget,
            "sampler": sampler,
        },
        overrides=overrides,
    )


def augment(
    model: str,
    *,
    dataset: str,
    rows: int | None = None,
    sequences: int | None = None,
    given: Frame | None = None,
    store: str | None = None,
    seed: int = 0,
    workers: int | None = None,
    where: str | Sequence[str] = (),
    latent: Mapping[str, float] | Sequence[str] = (),
    balance: str | None = None,
    mix_real: bool = False,
    columns: Sequence[str] | None = None,
    shard_rows: int = 65_536,
    row_group_rows: int = 65_536,
    partition_by: Sequence[str] = (),
    append: bool = False,
    require: Literal["pass"] | None = None,
    allow_inconclusive: bool = False,
    allow_copies: bool = False,
    portable: bool = False,
    if_exists: Literal["new", "reuse"] = "new",
    gates: str | None = None,
    storage: StorageConfig | None = None,
) -> Version:
    """Publish a synthetic dataset as Parquet, on Ray: exactly once, the same bytes for any number of workers.

    The arguments are those of `synthmill augment`: `rows`, or `sequences` of a model of those; `given` may be
    rows in memory, which are completed in order.

    Raises:
        UserError: an unknown model, column or value, before any work.
        GateFailedError: `require="pass"` and the gates did not pass.
    """
    from synthmill.runtime.augment import AugmentRequest
    from synthmill.runtime.augment import augment as run
    from synthmill.runtime.output import Output
    from synthmill.runtime.sequences import one_of

    codes = [f"{key}={value!r}" for key, value in latent.items()] if isinstance(latent, Mapping) else latent
    request = AugmentRequest(
        model=model,
        rows=rows if given is not None else one_of(rows, sequences),
        sequences=sequences is not None,
        dataset=dataset,
        seed=seed,
        workers=workers,
        where=(where,) if isinstance(where, str) else tuple(where),
        latent=tuple(codes),
        balance=balance,
        mix_real=mix_real,
        columns=None if columns is None else tuple(columns),
        shard_rows=shard_rows,
        require=require,
        allow_inconclusive=allow_inconclusive,
        allow_copies=allow_copies,
        portable=portable,
        if_exists=if_exists,
        gates=gates,
        output=Output(
            partition_by=(partition_by,) if isinstance(partition_by, str) else tuple(partition_by),
            row_group_rows=row_group_rows,
        ),
        append=append,
        given=_given(given),
    )
    return run(request, _store(store), run_id=uuid.uuid4().hex, storage=storage).version


def _given(given: Frame | None) -> "str | GivenRows | None":
    """The path of rows, or the rows themselves where they are in memory."""
    if given is None or isinstance(given, str | PathLike):
        return None if given is None else fspath(given)
    from synthmill.library.frames import MEMORY, content_sha256, to_table
    from synthmill.runtime.given import GivenRows

    table = to_table(given, field="given")
    return GivenRows(table, MEMORY, content_sha256(table))


def evaluate_dataset(
    dataset: str,
    *,
    store: str | None = None,
    profile: Profile = "standard",
    gates: str | None = None,
    baseline: str | None = None,
    seed: int = 0,
    sample_rows: int | Literal["all"] | None = None,
    budget_seconds: float | None = None,
    include: Sequence[str] = (),
    secrets: Sequence[str] = (),
    extractor: str = "auto",
    neighbours: bool = False,
    workers: int | None = None,
    storage: StorageConfig | None = None,
) -> "Evaluation":
    """Judge a published dataset against the real rows its model was trained beside, on Ray, and store the
    report. The arguments are those of `synthmill evaluate`.

    Raises:
        UserError: no such dataset, or its source changed since training.
    """
    from synthmill.runtime.evaluate import EvaluateRequest
    from synthmill.runtime.evaluate import evaluate as run

    request = EvaluateRequest(
        dataset=dataset,
        profile=profile,
        gates=gates,
        baseline=baseline,
        seed=seed,
        sample_rows=None if sample_rows is None else str(sample_rows),
        budget_seconds=budget_seconds,
        include=tuple(include),
        secrets=tuple(secrets),
        extractor=extractor,
        neighbours=neighbours,
        workers=workers,
    )
    return run(request, _store(store), run_id=uuid.uuid4().hex, storage=storage)


def _store(given: str | None) -> str:
    """As on the command line, the environment names the store that is not given."""
    return given or os.environ.get("SYNTHMILL_STORE") or DEFAULT_STORE
