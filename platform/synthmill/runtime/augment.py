"""Generate a dataset on Ray: exactly once, byte-identical whatever the workers, retries or lost nodes,
published atomically.

Actors compute whole shards and write the parts themselves; a part counts only with its receipt. The driver
deals out shards, replaces lost actors, evaluates what was written and commits the manifest last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

import synthmill
from synthmill.catalog.manifest import FileEntry, Parent
from synthmill.catalog.provenance import labels
from synthmill.catalog.store import Draft, Store, Version, check_name
from synthmill.config import StorageConfig, fingerprint
from synthmill.data.columns import flat
from synthmill.data.written import write_texts
from synthmill.errors import DataError, GateFailedError, UserError
from synthmill.evaluation.files import report_files
from synthmill.evaluation.report import Report
from synthmill.generation.generator import Generator, classes_of
from synthmill.generation.shards import ShardPlan, level_quotas
from synthmill.runtime import cluster
from synthmill.runtime.evaluate import (
    SYNTHETIC_COLUMN,
    EvaluateRequest,
    check_gates,
    report_on,
    source_tables,
)
from synthmill.runtime.progress import Progress, say
from synthmill.runtime.writers import Job, Part, Writers, dataset_schema

PARQUET_FORMAT = 2
"""Raised whenever the same rows would be written as other bytes. 2: real rows have the chosen columns
only."""


@dataclass(frozen=True, kw_only=True)
class AugmentRequest:
    """What to publish. `where` clauses are joined by AND."""

    model: str
    dataset: str
    rows: int
    seed: int = 0
    workers: int | None = None
    """Writing processes; None: one for each CPU, at most one for each shard."""
    where: tuple[str, ...] = ()
    latent: tuple[str, ...] = ()
    """Latent codes to fix, as NAME=VALUE."""
    balance: str | None = None
    mix_real: bool = False
    columns: tuple[str, ...] | None = None
    shard_rows: int = 65_536
    require: Literal["pass"] | None = None
    allow_inconclusive: bool = False
    allow_copies: bool = False
    portable: bool = False
    if_exists: Literal["new", "reuse"] = "new"
    gates: str | None = None
    """A gates file, or `default`; None: what the model's recipe says."""


@dataclass(frozen=True)
class Augmented:
    """What was published, and what the gates said."""

    version: Version
    verdict: str
    reused: bool


def augment(
    request: AugmentRequest, store_uri: str, *, run_id: str, storage: StorageConfig | None = None
) -> Augmented:
    """Publish `request.rows` synthetic rows (plus the train rows with `mix_real`) as the next version of
    `request.dataset`.

    Raises:
        UserError: an unknown model, column or value, no rows, too many workers: before any work.
        GateFailedError: `require="pass"` and the gates did not pass; the parts stand in quarantine.
    """
    storage = storage or StorageConfig()
    store = Store(store_uri, storage)
    source_version = store.resolve("models", request.model, field="--model")
    _check(request, source_version)
    store.root.probe_write()
    generator = Generator.load(source_version)
    check_gates(request.gates, generator)
    real = source_tables(store, generator) if request.mix_real else None
    plan = _plan(request, generator, real.train if real else None)
    with cluster.session():
        cluster.warn_of_local(store.root)
        workers = request.workers or max(1, min(cluster.total_cpus(), plan.num_shards))
        cluster.require(workers=workers, field="--workers")
        job = Job(
            cluster.environment(),
            store_uri,
            storage,
            generator.ref,
            generator.digest,
            plan,
            mixed=real is not None,
        )
        writers = Writers(workers, job, portable=request.portable)
        run_key = _run_key(plan, generator, writers.compute_class, real.split.source_sha256 if real else None)
        with store.begin(
            "datasets", request.dataset, run_key=run_key, run_id=run_id, if_exists=request.if_exists
        ) as draft:
            if draft.finished:
                return Augmented(
                    draft.finished, str((draft.finished.manifest.gate or {}).get("verdict")), reused=True
                )
            return _fill(request, store, draft, writers, generator, plan, real.train if real else None)


def _check(request: AugmentRequest, version: Version) -> None:
    if request.rows < 1:
        raise UserError(f"must be at least 1, got {request.rows}", field="--rows")
    if request.workers is not None and request.workers < 1:
        raise UserError(f"must be at least 1, got {request.workers}", field="--workers")
    if request.shard_rows < 1:
        raise UserError(f"must be at least 1, got {request.shard_rows}", field="--shard-rows")
    check_name(request.dataset, field="--dataset")
    if version.manifest.contains_training_rows and not (request.allow_copies or request.require):
        raise UserError(
            f"{version.ref} copies training rows; add --allow-copies, or --require pass to let the gates"
            " decide",
            field="--model",
        )


def _plan(request: AugmentRequest, generator: Generator, real: pa.Table | None) -> ShardPlan:
    plan = ShardPlan(
        rows=request.rows,
        seed=request.seed,
        where=request.where,
        latent=request.latent,
        balance=request.balance,
        columns=request.columns,
        shard_rows=request.shard_rows,
    )
    generator.check(plan)
    if real is not None and SYNTHETIC_COLUMN in generator.schema.names:
        raise UserError(
            f"the source has a column {SYNTHETIC_COLUMN!r} of its own, which says here which rows are real;"
            " rename it, or drop it in a schema file, and train again",
            field="--mix-real",
        )
    if real is not None:
        plan = plan.model_copy(update={"first_id": generator.codec.first_free_id(real, request.rows)})
    if request.balance is None:
        return plan
    classes = classes_of(generator, request.balance)
    found = (
        [0] * len(classes)
        if real is None
        else generator.codec.count_levels(request.balance, flat(real[request.balance]))
    )
    counts = dict(zip(classes, found, strict=True))
    return plan.model_copy(update={"quotas": level_quotas(counts, request.rows)})


def _run_key(plan: ShardPlan, generator: Generator, compute_class: str, real_sha256: str | None) -> str:
    return fingerprint(
        {
            "model": generator.digest,
            "plan": plan.model_dump(mode="json"),
            "real": real_sha256,
            "compute_class": compute_class,
            "format": PARQUET_FORMAT,
            "code": synthmill.__version__,
        }
    )


def _fill(
    request: AugmentRequest,
    store: Store,
    draft: Draft,
    writers: Writers,
    generator: Generator,
    plan: ShardPlan,
    real: pa.Table | None,
) -> Augmented:
    parts = [Part(shard.index, None) for shard in plan.shards()]
    if real is not None:
        real = write_texts(real)
        parts += [
            Part(plan.num_shards + i, real.slice(start, plan.shard_rows))
            for i, start in enumerate(range(0, real.num_rows, plan.shard_rows))
        ]
    say(f"{draft.ref}: {plan.rows:,} rows in {len(parts)} parts, {writers.count} worker(s)")
    with Progress("generating", len(parts)) as bar:
        files = tuple(writers.write_all(parts, draft, on_part=bar.update))
    draft.check_owned()
    report, why = _quick_report(request, store, draft, generator, files, plan)
    _gate(request, draft, report, why)
    version = draft.commit(
        draft.manifest(
            files=files,
            schema=dataset_schema(generator, plan, mixed=real is not None),
            parents=_parents(generator, mixed=real is not None),
            seed=plan.seed,
            compute_class=writers.compute_class,
            labels=labels(run_key=draft.run_key, mixed=real is not None),
            gate=_gate_entry(draft, report, why),
            contains_training_rows=real is not None or generator.model.copies_training_rows,
            details={"plan": plan.model_dump(mode="json"), "mix_real": real is not None},
        )
    )
    return Augmented(version, report.verdict if report else "inconclusive", reused=False)


def _quick_report(
    request: AugmentRequest,
    store: Store,
    draft: Draft,
    generator: Generator,
    files: Sequence[FileEntry],
    plan: ShardPlan,
) -> tuple[Report | None, str]:
    """The quick profile on the written parts; None, with the reason, when the real rows can't be read any
    more."""
    synthetic = files[: plan.num_shards]
    if plan.columns is not None:
        return None, "only some columns were published"
    try:
        asked = EvaluateRequest(
            dataset=request.dataset, profile="quick", gates=request.gates, workers=request.workers
        )
        report = report_on(
            store,
            generator,
            draft.folder,
            synthetic,
            asked,
            dataset=draft.ref,
            plan=plan,
            requested_rows=plan.rows,
        )
    except DataError as fault:
        return None, str(fault)
    for name, content in report_files(report).items():
        draft.folder.write_bytes(f"_{name}", content)
    return report, report.summary


def _parents(generator: Generator, *, mixed: bool) -> tuple[Parent, ...]:
    """The model, and the source whose rows stand among the generated ones."""
    model = Parent(kind="model", ref=generator.ref, digest=generator.digest)
    if not mixed:
        return (model,)
    source: Any = generator.config["source"]
    return model, Parent(kind="source", ref=source["uri"], digest=source["sha256"])


def _gate_entry(draft: Draft, report: Report | None, why: str) -> dict[str, Any]:
    if report is None:
        return {"verdict": "inconclusive", "why": why}
    return {
        "verdict": report.verdict,
        "why": why,
        "report": draft.folder.uri_of("_report.json"),
        "report_sha256": report.digest,
    }


def _gate(request: AugmentRequest, draft: Draft, report: Report | None, why: str) -> None:
    if request.require is None or (
        report is not None and report.passed(allow_inconclusive=request.allow_inconclusive)
    ):
        return
    verdict = report.verdict if report else "inconclusive"
    where = draft.quarantine(f"gates: {verdict}")
    raise GateFailedError(
        f"{request.dataset} was not published: {verdict}, {why}; parts and report are in {where}"
    )
