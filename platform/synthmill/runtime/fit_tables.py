"""Train the models of several tables on Ray, a task a table, and publish them as one."""

from collections.abc import Mapping
from typing import Any

import ray
import torch
import yaml

from synthmill.catalog.several import publish_several
from synthmill.catalog.store import Store
from synthmill.config import TABLES_FORMAT, dump
from synthmill.data.readers.base import read_source
from synthmill.data.relations.database import assemble
from synthmill.data.relations.discover import schema_at
from synthmill.runtime import cluster
from synthmill.runtime.progress import Progress, say
from synthmill.runtime.tasks import get
from synthmill.training.artifact import Fitted, build_artifact
from synthmill.training.parallel import Single
from synthmill.training.reporter import Silent
from synthmill.training.several import as_artifact, train_one
from synthmill.training.tables import Task, plan_tables


def fit_tables(
    schema: str,
    store_uri: str,
    *,
    run_id: str,
    name: str | None = None,
    overrides: tuple[str, ...] = (),
    dry_run: bool = False,
) -> dict[str, Any]:
    """Train what a schema file, a folder or a database holds; the result is the command's closing line.

    Raises:
        DataError: whatever is wrong with the tables, all of it before anything is trained.
        TrainingError: a run diverged.
    """
    config = schema_at(schema, overrides)
    if name is not None:
        config = config.model_validate({**dump(config), "name": name})
    store = Store(store_uri, config.storage)
    base = assemble(config, lambda _, data, rules: read_source(data, store=store, rules=rules))
    for note in base.notes:
        say(note)
    tasks = plan_tables(base)
    for task in tasks:
        _introduce(task)
    if dry_run:
        settled = as_artifact(base, tasks, {}).config["schema"]
        say(
            yaml.safe_dump({"format": TABLES_FORMAT, **settled}, sort_keys=False, allow_unicode=True).rstrip()
        )
        return {"dry_run": True, "tables": [task.spec.name for task in tasks]}
    store.root.probe_write()
    with cluster.session():
        cluster.warn_of_local(store.root)
        cluster.require(workers=1, start_with=1, field="training.workers")
        done = _train_all(tasks)
    artifacts = {
        task.spec.name: build_artifact(task.recipe, task.rows, done[task.spec.name]) for task in tasks
    }
    training = {table: one.summary for table, one in done.items()}
    version = publish_several(
        store, config.name, as_artifact(base, tasks, artifacts), run_id=run_id, details={"training": training}
    )
    return {
        "model": version.ref,
        "uri": version.uri,
        "content_digest": version.manifest.content_digest,
        "tables": {table: one.get("quality") for table, one in training.items()},
    }


def _introduce(task: Task) -> None:
    counts = task.rows.tables.split.counts
    sides = ", ".join(f"{rows:,} {side}" for side, rows in counts.items())
    say(f"{task.spec.name}: {sides}")
    for one in task.spec.relations:
        told = ", ".join(f"{column.table}.{column.source}" for column in one.contexts) or "nothing"
        say(f"{task.spec.name}: {', '.join(one.columns)} -> {one.parent} ({one.role}), told by {told}")


def _train_all(tasks: list[Task]) -> dict[str, Fitted]:
    """Models need each other's codecs, not their weights: all are trained at once, where there is room."""
    env = ray.put(cluster.environment())
    running = {}
    for task in tasks:
        gpus = 1 if task.recipe.training.device == "cuda" else 0
        threads = task.recipe.training.threads or 1
        call = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=3)(_train).remote(env, task)
        running[call] = task.spec.name
    done: dict[str, Fitted] = {}
    with Progress("training", len(tasks)) as bar:
        while len(done) < len(tasks):
            ready, _ = ray.wait([call for call, table in running.items() if table not in done], num_returns=1)
            table = running[ready[0]]
            done[table] = get(ready)[0]
            bar.update(len(done), f"{table}: {done[table].summary['steps']:,} steps")
    return done


def _train(env: Mapping[str, str], task: Task) -> Fitted:
    """In a worker."""
    cluster.adopt(env)
    device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
    return train_one(task, parallel=Single(device), reporter=Silent(), most_threads=1)
