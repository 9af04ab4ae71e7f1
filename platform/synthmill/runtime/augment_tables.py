"""Generate a dataset of several tables on Ray: exactly once, the same bytes for any number of workers, all
tables committed at once.

Stretches of families are independent but for the numbers of their keys. So each is gone over twice: tasks
first count its rows, at the cost of all tables that something hangs on; sums over the stretches before give
the first number of each; then tasks compute it again and write a file a table, and one receipt for all.
"""

import functools
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ray

import synthmill
from synthmill.catalog.dataset import finished_shards, write_file, write_receipt
from synthmill.catalog.manifest import FileEntry, Parent, encode_schema
from synthmill.catalog.provenance import footer, labels
from synthmill.catalog.several import KIND
from synthmill.catalog.store import Draft, Store, Version, check_name
from synthmill.catalog.tables import table_part
from synthmill.config import StorageConfig, fingerprint
from synthmill.errors import (
    ConditionError,
    DataError,
    GateFailedError,
    ResourceError,
    SynthmillError,
    UserError,
)
from synthmill.evaluation.tables_report import TablesReport
from synthmill.generation.compute import PORTABLE_ENV
from synthmill.generation.families import Whole
from synthmill.generation.family_plan import MOST_STRETCH_ROWS, FamilyPlan, Stretch, plan_families
from synthmill.generation.several import SeveralGenerators
from synthmill.runtime import cluster
from synthmill.runtime.evaluate import EvaluateRequest
from synthmill.runtime.evaluate_tables import check_gates, judged
from synthmill.runtime.progress import Progress, say
from synthmill.runtime.tasks import get, line_of
from synthmill.runtime.writers import LOST, MAX_RETRIES
from synthmill.storage.folder import Folder

TABLES_FORMAT = 1
"""Raised whenever the same rows would be written as other bytes."""


@dataclass(frozen=True, kw_only=True)
class TablesRequest:
    """What to publish."""

    model: str
    dataset: str
    scale: float = 1.0
    """Rows of the tables that hang on no other, as a multiple of the source's."""
    rows: Mapping[str, int] | int | None = None
    """Instead: how many, by table, or of the only one."""
    where: tuple[str, ...] = ()
    """Conditions on tables without an owner, as `customers.country=DE`; their families follow."""
    seed: int = 0
    workers: int | None = None
    stretch_rows: int = MOST_STRETCH_ROWS
    """Of the largest table in a part, about."""
    portable: bool = False
    if_exists: Literal["new", "reuse"] = "new"
    require: Literal["pass"] | None = None
    allow_inconclusive: bool = False
    gates: str | None = None
    """A gates file, or `default`, of every table's own figures."""

    @property
    def question(self) -> EvaluateRequest:
        """How what is written is judged."""
        return EvaluateRequest(dataset=self.dataset, profile="quick", gates=self.gates, workers=self.workers)


@dataclass(frozen=True)
class _Job:
    """What every task shares."""

    env: Mapping[str, str]
    store_uri: str
    storage: StorageConfig
    ref: str
    digest: str
    plan: FamilyPlan


def augment_tables(
    request: TablesRequest, store_uri: str, *, run_id: str, storage: StorageConfig | None = None
) -> Version:
    """Publish all tables as the next version of `request.dataset`, a folder a table.

    Raises:
        UserError: an unknown model or table, no rows, too many workers: before any work; a key whose type has
        no room.
        GateFailedError: `require="pass"` and the gates did not pass; the parts stand in quarantine.
    """
    storage = storage or StorageConfig()
    store = Store(store_uri, storage)
    check_name(request.dataset, field="--dataset")
    if request.workers is not None and request.workers < 1:
        raise UserError(f"must be at least 1, got {request.workers}", field="--workers")
    if request.stretch_rows < 1:
        raise UserError(f"must be at least 1, got {request.stretch_rows}", field="--shard-rows")
    model = SeveralGenerators.load(store.resolve("models", request.model, field="--model"))
    plan = planned(request, model)
    check_gates(request.question)
    store.root.probe_write()
    with cluster.session():
        cluster.warn_of_local(store.root)
        cluster.require(workers=request.workers or 1, start_with=1, field="--workers")
        stretches = plan.stretches()
        workers = request.workers or max(1, min(cluster.total_cpus(), len(stretches)))
        job = _Job(cluster.environment(), store_uri, storage, model.ref, model.digest, plan)
        tasks = _Tasks(job, workers, portable=request.portable)
        key = fingerprint(
            {
                "model": model.digest,
                "plan": plan.model_dump(mode="json"),
                "compute_class": tasks.compute_class,
                "format": TABLES_FORMAT,
                "code": synthmill.__version__,
            }
        )
        with store.begin(
            "datasets", request.dataset, run_key=key, run_id=run_id, if_exists=request.if_exists
        ) as draft:
            return draft.finished or _fill(request, draft, model, plan, tasks)


def planned(request: TablesRequest, model: SeveralGenerators) -> FamilyPlan:
    """How many rows of each table without an owner.

    Raises:
        UserError: no rows, a table that is none of these.
    """
    rows = request.rows or {}
    if isinstance(rows, int):
        roots = model.spec.roots
        if len(roots) > 1:
            raise UserError(
                f"{', '.join(roots)} all hang on no other table; give --scale instead",
                field="--rows",
            )
        rows = {roots[0]: rows}
    try:
        plan = plan_families(
            model.spec,
            scale=request.scale,
            rows=rows,
            seed=request.seed,
            stretch_rows=request.stretch_rows,
            where=request.where,
        )
    except ConditionError:
        raise
    except UserError as fault:
        raise UserError(str(fault).partition(": ")[2], field=f"--{fault.field}") from None
    model.families(plan)  # Conditions that no row can meet are refused here.
    return plan


def _fill(
    request: TablesRequest, draft: Draft, model: SeveralGenerators, plan: FamilyPlan, tasks: "_Tasks"
) -> Version:
    """Count, write, judge what was written, and commit the manifest last."""
    stretches = plan.stretches()
    say(f"{draft.ref}: {len(stretches)} stretches of families, {tasks.workers} worker(s)")
    tasks.choose_from()
    sizes: list[dict[str, int]] = tasks.each("counting", tasks.count, [(one,) for one in stretches], draft)
    # Keys go on where those of the stretches before end.
    offsets, start = [], dict.fromkeys((table.name for table in model.spec.tables), 0)
    for size in sizes:
        offsets.append(dict(start))
        start = {name: rows + size.get(name, 0) for name, rows in start.items()}
    done = finished_shards(draft.folder, draft.run_key)
    todo = [
        (one, offset, draft.folder, draft.run_key, tasks.compute_class)
        for one, offset in zip(stretches, offsets, strict=True)
        if one.number not in done
    ]
    written = tasks.each("generating", tasks.write, todo, draft)
    done |= {arguments[0].number: files for arguments, files in zip(todo, written, strict=True)}
    tasks.say_paces()
    # Files of a table follow one another, parents first.
    by_table: dict[str, list[FileEntry]] = {table.name: [] for table in model.spec.tables}
    for number in sorted(done):
        for entry in done[number]:
            by_table[entry.path.rpartition("/")[0]].append(entry)
    # Before minutes of evaluation: another run may have taken this version over meanwhile.
    draft.check_owned()
    gate = _gate(request, draft, model, plan, by_table)
    manifest = draft.manifest(
        files=tuple(entry for files in by_table.values() for entry in files),
        parents=(Parent(kind="model", ref=model.ref, digest=model.digest),),
        seed=plan.seed,
        compute_class=tasks.compute_class,
        labels=labels(run_key=draft.run_key),
        gate=gate,
        details={
            "kind": KIND,
            "order": [table.name for table in model.spec.tables],
            "family_plan": plan.model_dump(mode="json"),
            "tables": {
                table.name: {
                    "rows": start[table.name],
                    "key": list(table.key),
                    "foreign_keys": [
                        {"columns": list(one.columns), "table": one.parent} for one in table.relations
                    ],
                    "arrow_schema": encode_schema(model.schema(table.name)),
                }
                for table in model.spec.tables
            },
        },
    )
    return draft.commit(manifest.model_copy(update={"rows": sum(start.values())}))


def _gate(
    request: TablesRequest,
    draft: Draft,
    model: SeveralGenerators,
    plan: FamilyPlan,
    files: Mapping[str, Sequence[FileEntry]],
) -> dict[str, Any]:
    """What the manifest says of the quick report, whose files stand beside the tables.

    Raises:
        GateFailedError: a pass was required.
    """
    say("comparing the tables with the real ones")
    report: TablesReport | None = None
    try:
        report = judged(
            draft.store, model, draft.folder, files, request.question, dataset=draft.ref, where=plan.where
        )
    except DataError as fault:
        # A source may be gone or changed since training; the rows are good all the same.
        why = str(fault)
    else:
        why = report.summary
        for name, content in report.files().items():
            draft.folder.write_bytes(f"_{name}", content)
    verdict = report.verdict if report else "inconclusive"
    if request.require and not (report and report.passed(allow_inconclusive=request.allow_inconclusive)):
        where = draft.quarantine(f"gates: {verdict}")
        raise GateFailedError(
            f"{request.dataset} was not published: {verdict}, {why}; parts and report are in {where}"
        )
    told = {"report": draft.folder.uri_of("_report.json"), "report_sha256": report.digest} if report else {}
    return {"verdict": verdict, "why": why, **told}


class _Tasks:
    """At most `workers` at a time, each on one CPU with one thread."""

    def __init__(self, job: _Job, workers: int, *, portable: bool) -> None:
        self.workers = workers
        self._job = ray.put(job)
        self._paces: dict[str, tuple[int, float]] = {}
        self.options: dict[str, Any] = {
            "num_cpus": 1,
            "max_retries": MAX_RETRIES,
            "scheduling_strategy": "SPREAD",
        }
        if portable:
            self.options["runtime_env"] = {"env_vars": PORTABLE_ENV}
        self.count, self.write = (ray.remote(**self.options)(work) for work in (count_stretch, write_stretch))
        self.compute_class: str = get([ray.remote(**self.options)(class_of).remote(self._job)])[0]
        self._wholes: Any = None

    def choose_from(self) -> None:
        """Compute the tables of which rows are chosen: once, by one worker. A machine then holds them once,
        in Ray's object store, which its workers read in place."""
        done, self._wholes = ray.remote(num_returns=2, **self.options)(wholes_of).remote(self._job)
        # What went wrong is told here, once, and the tables themselves don't come to the driver.
        get([done])

    def each(self, title: str, task: Any, calls: list[tuple[Any, ...]], draft: Draft) -> list[Any]:
        """The answers, in the order of the calls; those that a lost worker had are asked again by Ray."""
        answers: list[Any] = [None] * len(calls)
        waiting = list(enumerate(calls))
        running: dict[Any, int] = {}
        with Progress(title, len(calls)) as bar:
            done = 0
            while waiting or running:
                while waiting and len(running) < self.workers:
                    at, arguments = waiting.pop(0)
                    running[task.remote(self._job, self._wholes, *arguments)] = at
                ready, _ = ray.wait(list(running), num_returns=1)
                try:
                    answer, worker, rows, seconds = get(ready)[0]
                except LOST as fault:
                    raise SynthmillError(
                        f"a stretch lost its worker {MAX_RETRIES + 1} times: {line_of(fault)}"
                    ) from fault
                answers[running.pop(ready[0])] = answer
                before = self._paces.get(worker, (0, 0.0))
                self._paces[worker] = (before[0] + rows, before[1] + seconds)
                done += 1
                bar.update(done)
                # Another run may have taken this version over while this one waited.
                draft.check_alive()
        return answers

    def say_paces(self) -> None:
        """A line for each worker, where there are several."""
        if len(self._paces) > 1:
            for worker, (rows, seconds) in sorted(self._paces.items()):
                say(f"worker {worker}: {rows:,} rows, {rows / max(seconds, 1e-9):,.0f} rows/s")


Answer = tuple[Any, str, int, float]
"""What a task gives, by whom, of how many rows, in how many seconds."""


def class_of(job: _Job) -> str:
    """In a worker: its compute class."""
    return _model(job).compute_class


def wholes_of(job: _Job) -> tuple[None, dict[str, Whole]]:
    """In a worker: the tables of which rows are chosen."""
    return None, _model(job).families(job.plan).wholes()


def count_stretch(job: _Job, wholes: dict[str, Whole], stretch: Stretch) -> Answer:
    """In a worker: the rows of each table in a stretch."""
    started = time.monotonic()
    sizes = _model(job).families(job.plan, wholes).sizes(stretch)
    return sizes, _worker(), 0, time.monotonic() - started


def write_stretch(
    job: _Job,
    wholes: dict[str, Whole],
    stretch: Stretch,
    offsets: Mapping[str, int],
    folder: Folder,
    run_key: str,
    expected_class: str,
) -> Answer:
    """In a worker: compute a stretch, write a file for each of its tables, then the receipt."""
    started = time.monotonic()
    own_class = _model(job).compute_class
    if own_class != expected_class:
        raise ResourceError(
            f"the cluster's machines compute differently ({own_class} | {expected_class}); add --portable",
            field="--workers",
        )
    families = _model(job).families(job.plan, wholes)
    files: list[FileEntry] = []
    for name, table in families.finished(stretch, families.parts(stretch), offsets).items():
        keys = footer(
            run_key=run_key,
            shard=stretch.number,
            model_ref=job.ref,
            model_digest=job.digest,
            seed=job.plan.seed,
            folder=name,
        )
        described = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        path = table_part(name, stretch.index)
        files.append(write_file(folder, path, [table], table.schema, footer=described | keys))
    write_receipt(folder, stretch.number, files, run_key=run_key)
    rows = sum(entry.rows or 0 for entry in files)
    return tuple(files), _worker(), rows, time.monotonic() - started


def _worker() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _model(job: _Job) -> SeveralGenerators:
    cluster.adopt(job.env)
    return _load(job.store_uri, job.storage, job.ref, job.digest)


@functools.lru_cache(maxsize=1)
def _load(store_uri: str, storage: StorageConfig, ref: str, digest: str) -> SeveralGenerators:
    model = SeveralGenerators.load(Store(store_uri, storage).resolve("models", ref, field="--model"))
    assert model.digest == digest, f"{ref} changed while it was read"
    return model
