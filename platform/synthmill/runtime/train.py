"""Train on Ray: the driver reads and splits, Ray Train workers run the one loop, the driver publishes.

A run is named by what determines it, so the same command after a crash finds its checkpoints and goes on.
"""

import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
import safetensors.torch
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchTrainer, get_device
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import synthmill
from synthmill.catalog.artifact import Artifact, write_artifact
from synthmill.catalog.manifest import Parent
from synthmill.catalog.store import Store, Version
from synthmill.config import ModelConfig, Recipe, dump, fingerprint, parse_model
from synthmill.data.codecs.base import Codec, codec_class, codec_from_files
from synthmill.data.readers.base import Source, read_source
from synthmill.data.split import SplitTables, split_table
from synthmill.errors import RecipeError, SynthmillError, TrainingError, UserError
from synthmill.evaluation.gates import load_gates
from synthmill.models.base import GenerativeModel, model_class, parse_config
from synthmill.runtime import cluster
from synthmill.runtime.card import model_card
from synthmill.runtime.history import FolderReporter, SheetFolder, TensorBoardFolder, follow
from synthmill.runtime.progress import Progress, say
from synthmill.storage.folder import Folder
from synthmill.training.checkpoint import Checkpoints
from synthmill.training.fit import NOT_IN_RUN_KEY, fit_table, fresh_model
from synthmill.training.parallel import AllReduce, Single
from synthmill.training.plan import make_plan
from synthmill.training.reporter import Fanout, Reporter, Silent

OUTCOME = "outcome.safetensors"


@dataclass(frozen=True)
class Prepared:
    """All that training needs, before any cluster work: a user's mistakes have surfaced by now."""

    recipe: Recipe
    store: Store
    source: Source
    tables: SplitTables
    codec: Codec
    run_key: str

    @property
    def run_name(self) -> str:
        return f"{self.recipe.name}-{self.run_key[:12]}"


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with the model's own defaults filled in; raises for an unknown model or hyper-parameter."""
    cls = model_class(recipe.model.name)
    config = parse_config(recipe.model.name, recipe.model.config)
    kind = _kind(recipe, cls)
    return recipe.model_copy(
        update={
            "model": ModelConfig(name=recipe.model.name, config=dump(config)),
            "data": recipe.data.model_copy(update={"kind": kind}),
        }
    )


def _kind(recipe: Recipe, cls: type[GenerativeModel]) -> str:
    """What the model learns; RecipeError when the recipe says that the source holds something else."""
    learnt = list(cls.modalities)
    if recipe.data.kind == "auto":
        return learnt[0]
    if recipe.data.kind not in learnt:
        raise RecipeError(
            f"{recipe.model.name} learns {learnt[0]}, not {recipe.data.kind}; choose another model or `auto`",
            field="data.kind",
        )
    return recipe.data.kind


def prepare(recipe: Recipe, store_uri: str) -> Prepared:
    """Resolve, probe the store for writing, read, split and fit the codec on the train split."""
    recipe = resolve(recipe)
    load_gates(recipe.gates)
    store = Store(store_uri, recipe.storage)
    store.root.probe_write()
    source = read_source(recipe.data, store=store)
    tables = split_table(source.table, recipe.data.split, sha256=source.sha256)
    codec = codec_class(model_class(recipe.model.name).encoding).fit(tables.train, recipe.data, source.rules)
    return Prepared(recipe, store, source, tables, codec, run_key(recipe, source))


def train(recipe: Recipe, store_uri: str, *, run_id: str) -> Version:
    """Train `recipe` and publish the model as the next version of its name.

    Raises:
        UserError: anything the user can mend, before workers start.
        TrainingError: the run diverged, or lost its workers too often; checkpoints stay for the next attempt.
    """
    job = prepare(recipe, store_uri)
    split = job.tables.split
    for note in job.source.notes:
        say(note)
    say(
        f"{job.source.uri}: {job.source.table.num_rows:,} rows,"
        f" {', '.join(f'{n:,} {name}' for name, n in split.counts.items())}"
    )
    with cluster.session():
        cluster.warn_of_local(job.store.root)
        shape = _scaling(job.recipe)
        with job.store.begin_run(job.run_name, run_key=job.run_key, run_id=run_id) as run:
            _start_afresh(job.recipe, run.folder)
            summary = _fit(job, run.folder, shape)
            run.check()
            version = _publish(job, run.folder, summary, run_id)
            run.folder.delete_tree("checkpoints")
    return version


def run_key(recipe: Recipe, source: Source) -> str:
    """SHA-256 of what determines the model: the same names the same run, and finds its checkpoints."""
    told = dump(recipe)
    told.pop("storage")
    told["training"] = {name: value for name, value in told["training"].items() if name not in NOT_IN_RUN_KEY}
    return fingerprint(
        {"recipe": told, "rules": _rules(source), "source": source.sha256, "code": synthmill.__version__}
    )


def _rules(source: Source) -> dict[str, Any]:
    return {name: dump(rule) for name, rule in source.rules.items()}


def _start_afresh(recipe: Recipe, folder: Folder) -> None:
    found = Checkpoints(folder.child("checkpoints")).exist()
    if recipe.training.resume == "never":
        folder.delete_tree("checkpoints")
    elif recipe.training.resume == "always" and not found:
        raise UserError(
            "there is no checkpoint of this recipe to go on from; use if-possible", field="training.resume"
        )
    elif found:
        say(f"going on from the last checkpoint in {folder.uri}")


def _scaling(recipe: Recipe) -> ScalingConfig:
    training = recipe.training
    gpu = training.device == "cuda" or (
        training.device == "auto" and ray.cluster_resources().get("GPU", 0) >= training.workers
    )
    cluster.require(workers=training.workers, field="training.workers")
    if gpu:
        cluster.require(workers=training.workers, gpus=1, field="training.device")
    if training.threads is not None:
        cluster.require(
            workers=training.workers, cpus=training.threads, gpus=1 if gpu else 0, field="training.threads"
        )
    cpus = training.threads or cluster.cpus_each(training.workers)
    return ScalingConfig(
        num_workers=training.workers,
        use_gpu=gpu,
        resources_per_worker={"CPU": cpus, **({"GPU": 1} if gpu else {})},
    )


def _fit(job: Prepared, folder: Folder, scaling: ScalingConfig) -> dict[str, Any]:
    config, tensors = job.codec.to_files()
    payload = {
        "recipe": dump(job.recipe),
        "folder": folder,
        "codec": (config, tensors),
        # By reference: Ray shows a training function's arguments on its dashboard, and the environment holds
        # keys.
        "env": ray.put(cluster.environment()),
        "ending": _beside_driver(Ending),
        "tables": ray.put((job.tables.train, job.tables.validation)),
    }
    done = threading.Event()
    with (
        Progress("training", _planned_steps(job)) as bar,
        tempfile.TemporaryDirectory(prefix="synthmill-ray-") as scratch,
    ):
        trainer = TorchTrainer(
            work,
            train_loop_config=payload,
            scaling_config=scaling,
            # Checkpoints are ours (encrypted as asked, retried); Ray is given none, and needs no more than a
            # folder on each machine.
            run_config=RunConfig(
                name=f"ray-{ray.get_runtime_context().get_job_id()}",
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=job.recipe.training.max_failures),
            ),
        )
        watcher = threading.Thread(target=follow, args=(folder, bar, done), daemon=True)
        watcher.start()
        try:
            summary = trainer.fit().return_value
        except (TrainingFailedError, RayError) as fault:
            raise ray.get(payload["ending"].fault.remote()) or TrainingError(_first_line(fault)) from fault
        finally:
            done.set()
            watcher.join()
    return _unwrap(summary)


def _planned_steps(job: Prepared) -> int:
    model = fresh_model(job.recipe, job.codec.layout)
    stages = model.stages()
    return (
        make_plan(job.recipe.training, stages, job.tables.train.num_rows, model.row_group, 0).total_steps
        if stages
        else 1
    )


def _beside_driver(cls: type) -> Any:
    """An actor on the driver's own machine: it is lost only with the job, not with a worker's node."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(cls).remote()


class Ending:
    """Remembers why a run can't go on, for workers that start again because one of them raised that."""

    def __init__(self) -> None:
        self._fault: SynthmillError | None = None

    def keep(self, fault: SynthmillError) -> None:
        self._fault = self._fault or fault

    def fault(self) -> SynthmillError | None:
        return self._fault


def work(payload: Mapping[str, Any]) -> dict[str, Any]:
    """One Ray Train worker. Our own errors come back as values: raised, Ray would retry what can't succeed.

    A worker that has fellows must raise all the same, or they would wait for it in the next sum; Ray then
    starts all of them again, and they come back at once with the error that the first one left behind.
    """
    cluster.adopt(ray.get(payload["env"]))
    ended = ray.get(payload["ending"].fault.remote())
    if ended is not None:
        return {"error": ended}
    try:
        return _work(payload)
    except SynthmillError as fault:
        if ray.train.get_context().get_world_size() == 1:
            return {"error": fault}
        ray.get(payload["ending"].keep.remote(fault))
        raise


def _work(payload: Mapping[str, Any]) -> dict[str, Any]:
    recipe = parse_model(Recipe, payload["recipe"])
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    train_rows, validation_rows = ray.get(payload["tables"])
    folder: Folder = payload["folder"]
    threads = recipe.training.threads or cluster.threads_here()
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"threads": threads})})
    parallel = AllReduce(get_device()) if world > 1 else Single(get_device())
    live, events = FolderReporter(folder), TensorBoardFolder(folder)
    reporter: Reporter = Fanout(live, events, SheetFolder(folder)) if rank == 0 else Silent()
    codec = codec_from_files(*payload["codec"])
    outcome = fit_table(
        recipe,
        train_rows,
        validation_rows,
        codec,
        parallel=parallel,
        reporter=reporter,
        checkpoints=Checkpoints(folder.child("checkpoints")),
    )
    if rank == 0:
        live.close()
        events.close()
        folder.write_bytes(OUTCOME, safetensors.torch.save(outcome.state_dict))
    return {
        "steps": outcome.steps,
        "seconds": outcome.seconds,
        "quality": outcome.best,
        "history": outcome.history,
        "threads": threads,
        "workers": world,
    }


def _unwrap(summary: Any) -> dict[str, Any]:
    if isinstance(summary, Mapping) and isinstance(summary.get("error"), SynthmillError):
        raise summary["error"]
    assert isinstance(summary, dict), f"a worker returned {type(summary).__name__}"
    return summary


def _first_line(fault: BaseException) -> str:
    """What went wrong in a worker, without its stack: the last line of the innermost report."""
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return f"training workers failed: {lines[-1] if lines else type(fault).__name__}"


def _publish(job: Prepared, folder: Folder, summary: dict[str, Any], run_id: str) -> Version:
    history = summary.pop("history")
    codec_json, codec_tensors = job.codec.to_files()
    recipe = dump(job.recipe)
    config = {
        "format": "synthmill.artifact/1",
        "model": job.recipe.model.name,
        "model_config": recipe["model"]["config"],
        "layout": dump(job.codec.layout),
        "recipe": recipe,
        "recipe_fingerprint": fingerprint(recipe),
        "source": {"uri": job.source.uri, "sha256": job.source.sha256, "rows": job.source.table.num_rows},
        "rules": _rules(job.source),
        "split": dump(job.tables.split),
        "training": summary,
        "profile": job.codec.summary(job.tables.train, job.recipe.data.split.group),
        "compute_dtype": "float32",
    }
    copies = model_class(job.recipe.model.name).copies_training_rows
    artifact = Artifact(
        config=config,
        weights=safetensors.torch.load(folder.read_bytes(OUTCOME)),
        codec=codec_json,
        codec_tensors=codec_tensors,
        history=history,
        card=model_card(job.recipe, config),
    )
    with job.store.begin("models", job.recipe.name, run_key=job.run_key, run_id=run_id) as draft:
        files = write_artifact(draft.folder, artifact)
        return draft.commit(
            draft.manifest(
                files=files,
                parents=(
                    Parent(kind="source", ref=job.source.uri, digest=job.source.sha256),
                    Parent(kind="recipe", ref=job.recipe.name, digest=config["recipe_fingerprint"]),
                ),
                seed=job.recipe.training.seed,
                contains_training_rows=copies,
                details={"model": job.recipe.model.name, "training": summary},
            )
        )
