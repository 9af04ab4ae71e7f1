"""Generate a dataset on Ray: exactly once, byte-identical whatever the workers, retries or lost nodes,
published atomically.

Actors compute whole shards and write the parts themselves; a part counts only with its receipt. The driver
deals out shards, replaces lost actors, evaluates what was written and commits the manifest last.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

import synthmill
from synthmill.catalog.manifest import FileEntry, Parent
from synthmill.catalog.provenance import SYNTHETIC_COLUMN, labels
from synthmill.catalog.store import Draft, Store, Version, check_name
from synthmill.config import StorageConfig, fingerprint
from synthmill.errors import DataError, GateFailedError, UserError
from synthmill.generation.shards import ShardPlan, level_quotas
from synthmill.runtime import cluster
from synthmill.runtime.append import FIELD, Base
from synthmill.runtime.constrained import refuse_repeats, rejected
from synthmill.runtime.forecast import begun, given_of
from synthmill.runtime.given import GivenRows, check_given, read_given
from synthmill.runtime.output import Output, check_output, rows_of_files
from synthmill.runtime.progress import Progress, say
from synthmill.runtime.rates import GeneratingProgress
from synthmill.runtime.sequences import expected_rows, in_unit

# Ray takes seconds to start, and torch and the metrics as long to import: torch is imported while Ray starts,
# the metrics when the parts are written.
if TYPE_CHECKING:
    from synthmill.data.columns import Int64
    from synthmill.evaluation.report import Report
    from synthmill.generation.continuing import Ahead
    from synthmill.generation.generator import Generator
    from synthmill.runtime.real_rows import RealRows
    from synthmill.runtime.writers import Done, Writers

PARQUET_FORMAT = 2
"""Raised whenever the same rows would be written as other bytes. 2: real rows have the chosen columns
only."""


@dataclass(frozen=True, kw_only=True)
class AugmentRequest:
    """What to publish. `where` clauses are joined by AND."""

    model: str
    dataset: str
    rows: int | None = None
    """Or whole sequences, where `sequences` says so; None: as many as are given."""
    sequences: bool = False
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
    output: Output = field(default_factory=Output)
    file_bytes: int | None = None
    """About the size of a file, which then decides `shard_rows`."""
    given: str | GivenRows | None = None
    """A file of rows with some cells known: each of them is completed, in order."""
    ahead: "Ahead | None" = None
    """What to draw after the given rows, which are those of some sequences."""
    append: bool = False
    """To the newest version of the dataset: the new one shares its files."""


@dataclass(frozen=True)
class Augmented:
    """What was published, and what the gates said."""

    version: Version
    verdict: str
    reused: bool


@dataclass(frozen=True)
class _Work:
    """What one request comes to: all that the workers and the manifest need."""

    request: AugmentRequest
    store: Store
    generator: "Generator"
    plan: ShardPlan
    real: "RealRows | None"
    """The real rows that are published too."""
    base: Base | None = None
    """The version that is appended to."""
    given: GivenRows | None = None
    """The rows that are completed, or go on."""
    starts: "Int64 | None" = None
    """Of given sequences, which stand one after the other: where each begins, and the end."""

    @property
    def mixed(self) -> bool:
        return self.real is not None

    @property
    def schema(self) -> pa.Schema:
        from synthmill.runtime.writers import dataset_schema

        return dataset_schema(self.generator, self.plan, mixed=self.mixed)


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
    source = store.resolve("models", request.model, field="--model")
    _check(request, source)
    with cluster.session_beside(lambda: _prepare(request, store, source)) as preparing:
        from synthmill.runtime.writers import Job, Writers

        work = preparing.result()
        plan, generator = work.plan, work.generator
        cluster.warn_of_local(store.root)
        # All are asked for at once; the first parts are written while the other machines start.
        cluster.require(workers=request.workers or 1, start_with=1, field="--workers")
        workers = request.workers or max(1, min(cluster.total_cpus(), plan.num_shards))
        env = cluster.environment()
        first_part = work.base.first_part if work.base else 0
        job = Job(
            env,
            store_uri,
            storage,
            generator.ref,
            generator.digest,
            plan,
            mixed=work.mixed,
            output=request.output,
            first_part=first_part,
        )
        writers = Writers(workers, job, portable=request.portable)
        run_key = _run_key(work, writers.compute_class)
        # Only a worker knows how its machine computes, and so what this run would write.
        with store.begin(
            "datasets", request.dataset, run_key=run_key, run_id=run_id, if_exists=request.if_exists
        ) as draft:
            if draft.finished:
                verdict = str((draft.finished.manifest.gate or {}).get("verdict"))
                return Augmented(draft.finished, verdict, reused=True)
            return _fill(work, draft, writers)


def planned(request: AugmentRequest, store_uri: str, storage: StorageConfig | None = None) -> _Work:
    """The request, checked as `augment` checks it, without a cluster and without writing anything."""
    store = Store(store_uri, storage or StorageConfig())
    source = store.resolve("models", request.model, field="--model")
    _check(request, source)
    return _prepare(request, store, source, writes=False)


def _check(request: AugmentRequest, version: Version) -> None:
    """Mistakes that need no model to be seen."""
    for option, value in (
        ("--sequences" if request.sequences else "--rows", request.rows),
        ("--workers", request.workers),
        ("--shard-rows", request.shard_rows),
    ):
        if value is not None and value < 1:
            raise UserError(f"must be at least 1, got {value}", field=option)
    if request.rows is None and request.given is None:
        raise UserError("is required: how many rows to publish", field="--rows")
    check_name(request.dataset, field="--dataset")
    if request.append and request.mix_real:
        raise UserError("can't be given with --append, which adds generated rows alone", field="--mix-real")
    if request.file_bytes is not None and request.shard_rows != AugmentRequest.shard_rows:
        raise UserError("can't be given with --shard-rows; leave one of them out", field="--file-size")
    if version.manifest.contains_training_rows and not (request.allow_copies or request.require):
        raise UserError(
            f"{version.ref} copies training rows; add --allow-copies, or --require pass to let the gates"
            " decide",
            field="--model",
        )


def _prepare(request: AugmentRequest, store: Store, source: Version, *, writes: bool = True) -> _Work:
    """Load the model and check the request against it, the store and the gates."""
    from synthmill.generation.generator import Generator
    from synthmill.runtime.real_rows import real_rows
    from synthmill.runtime.source import gates_name

    if writes:
        store.root.probe_write()
    generator = Generator.load(source)
    if gates_name(request.gates, generator) != "default":
        # A gates file of one's own may be wrong. The shipped one is not, and reading it imports every metric.
        from synthmill.runtime.evaluate import check_gates

        check_gates(request.gates, generator)
    refuse_repeats(generator, append=request.append, mix_real=request.mix_real)
    given = request.given
    if isinstance(given, str):
        given = read_given(generator, given, store.root.settings)
    if request.ahead is not None and given is not None:
        history = begun(generator, given, request.ahead)
        plan = history.plan(request.ahead, request.seed, request.shard_rows)
        work = _Work(request, store, generator, plan, None, given=history.given, starts=history.starts)
        check_output(request.output, generator, work.schema)
        return work
    if given is not None:
        options = {
            "--where": request.where,
            "--latent": request.latent,
            "--balance": request.balance,
            "--mix-real": request.mix_real,
            "--append": request.append,
        }
        check_given(generator, given, request.rows, options)
    if given is None:
        request = in_unit(request, generator)
    real = real_rows(store, generator) if request.mix_real else None
    base = _base(request, store, generator) if request.append else None
    plan = _plan(request, generator, real, base, given)
    work = _Work(request, store, generator, plan, real, base, given)
    check_output(request.output, generator, work.schema)
    if base is not None:
        base.check(work.plan, generator.digest, work.schema, request.output)
    return work


def _base(request: AugmentRequest, store: Store, generator: "Generator") -> Base:
    """The version to append to; the one before where `if_exists="reuse"` finds that this very job is done."""
    base = Base.of(store, request.dataset)
    before = base.version.manifest.details.get("appended_to")
    if request.if_exists != "reuse" or before is None:
        return base
    last = base.plans[-1]
    same = (last["model"], last["plan"]["seed"], last["plan"]["rows"]) == (
        generator.digest,
        request.seed,
        request.rows,
    )
    return Base(store.resolve("datasets", before, field=FIELD)) if same else base


def _plan(
    request: AugmentRequest,
    generator: "Generator",
    real: "RealRows | None",
    base: Base | None = None,
    given: GivenRows | None = None,
) -> ShardPlan:
    from synthmill.generation.generator import classes_of

    rows = request.rows if given is None else given.table.num_rows
    assert rows is not None, "checked with the request"
    plan = ShardPlan(
        given=None if given is None else given.sha256,
        rows=rows,
        seed=request.seed,
        where=request.where,
        latent=request.latent,
        balance=request.balance,
        columns=request.columns,
        shard_rows=request.shard_rows,
    )
    generator.check(plan)
    if base is not None:
        plan = plan.model_copy(update={"first_id": base.first_id})
        generator.check(plan)
    if request.file_bytes is not None:
        per_file = rows_of_files(generator, plan, request.output, request.file_bytes)
        plan = plan.model_copy(update={"shard_rows": per_file})
    if real is not None:
        if SYNTHETIC_COLUMN in generator.schema.names:
            raise UserError(
                f"the source has a column {SYNTHETIC_COLUMN!r} of its own, which says here which rows are"
                " real; rename it, or drop it in a schema file, and train again",
                field="--mix-real",
            )
        # Generated identifiers continue where those of the real rows end.
        plan = plan.model_copy(update={"first_id": real.first_free_id(generator.codec, rows)})
    if request.balance is None:
        return plan
    classes = classes_of(generator, request.balance)
    existing = [0] * len(classes) if real is None else real.count_levels(generator.codec, request.balance)
    counts = dict(zip(classes, existing, strict=True))
    return plan.model_copy(update={"quotas": level_quotas(counts, rows)})


def _run_key(work: _Work, compute_class: str) -> str:
    """SHA-256 of what determines the bytes: a run of the same key takes over what this one wrote."""
    return fingerprint(
        {
            "model": work.generator.digest,
            "plan": work.plan.model_dump(mode="json"),
            "real": work.real.source_sha256 if work.real else None,
            "compute_class": compute_class,
            "format": PARQUET_FORMAT,
            "code": synthmill.__version__,
            # Only what is asked for: the keys of all other jobs stay as they were.
            **({"output": facts} if (facts := work.request.output.facts()) else {}),
            **({"append": work.base.version.manifest.content_digest} if work.base else {}),
        }
    )


def _fill(work: _Work, draft: Draft, writers: "Writers") -> Augmented:
    """Write the parts, judge them, and commit the manifest last."""
    from synthmill.runtime.writers import Part

    plan, generator = work.plan, work.generator
    real_rows = work.real.num_rows if work.real else 0
    real_parts = -(-real_rows // plan.shard_rows)

    def parts() -> Iterator[Part]:
        for shard in plan.shards():
            yield Part(shard.index, None, given_of(work.given, work.starts, shard))
        if work.real is not None:
            # As the source writes them, like the generated rows beside them. They are read when a worker is
            # free to write them: a source need not fit into memory.
            for index, rows in enumerate(work.real.parts(plan.shard_rows)):
                yield Part(plan.num_shards + index, rows)

    num_parts = plan.num_shards + real_parts
    say(f"{draft.ref}: {plan.rows:,} {generator.unit} in {num_parts} parts, {writers.count} worker(s)")
    shown = GeneratingProgress(expected_rows(generator, plan.rows, plan) + real_rows)
    done: dict[int, Done] = {}
    with Progress("generating", num_parts) as bar:

        def on_part(now: "Mapping[int, Done]") -> None:
            done.update(now)
            shown.update(bar, now)

        written = writers.write_all(parts(), draft, on_part=on_part)
    shown.say_summary()
    drawn_again = rejected(plan, generator.codec, done)
    assert len(written) == num_parts, f"{len(written)} parts came, {num_parts} were expected"
    files = tuple(entry for part in written for entry in part)
    # Parts of real rows come after the generated ones.
    generated = tuple(entry for part in written[: plan.num_shards] for entry in part)
    # Before minutes of evaluation: another run may have taken this version over meanwhile.
    draft.check_owned()
    say("comparing the rows with the real ones")
    report, why = _quick_report(work, draft, generated)
    _gate(work.request, draft, report, why)
    gate: dict[str, Any] = {"verdict": report.verdict if report else "inconclusive", "why": why}
    if report is not None:
        gate |= {"report": draft.folder.uri_of("_report.json"), "report_sha256": report.digest}
    contains = work.mixed or generator.model.copies_training_rows
    if work.base is not None:
        work.base.check_newest(work.store)
        files = (*work.base.files, *files)
        # The others were judged when they were published.
        gate["rows"] = "appended"
        contains = contains or work.base.version.manifest.contains_training_rows
    version = draft.commit(
        draft.manifest(
            files=files,
            schema=work.schema,
            parents=_parents(work),
            seed=plan.seed,
            compute_class=writers.compute_class,
            # Cells that are given need not be generated ones.
            labels=labels(run_key=draft.run_key, mixed=work.mixed or work.given is not None),
            gate=gate,
            contains_training_rows=contains,
            details={**_details(work), **drawn_again},
        )
    )
    return Augmented(version, gate["verdict"], reused=False)


def _parents(work: _Work) -> tuple[Parent, ...]:
    """What the rows came from: the model, and the source's own rows or the version before."""
    parents = [Parent(kind="model", ref=work.generator.ref, digest=work.generator.digest)]
    if work.mixed:
        source: Any = work.generator.config["source"]
        parents.append(Parent(kind="source", ref=source["uri"], digest=source["sha256"]))
    if work.given is not None:
        parents.append(Parent(kind="source", ref=work.given.uri, digest=work.given.sha256))
    if work.base is not None:
        parents.append(work.base.parent)
    return tuple(parents)


def _details(work: _Work) -> dict[str, Any]:
    """What the manifest states about the request."""
    details: dict[str, Any] = {"plan": work.plan.model_dump(mode="json"), "mix_real": work.mixed}
    if work.base is not None:
        details = {"mix_real": False, **work.base.details(work.plan, work.generator.digest)}
    if folders := work.request.output.partition_by:
        details["partition_by"] = folders
    return details


def _quick_report(work: _Work, draft: Draft, files: Sequence[FileEntry]) -> "tuple[Report | None, str]":
    """The quick profile on the generated parts; None, with the reason, when the real rows can't be read any
    more."""
    request, plan = work.request, work.plan
    if plan.columns is not None:
        return None, "only some columns were published"
    if plan.steps is not None:
        return None, "rows after a history are no whole sequences, which real ones could be compared with"
    from synthmill.evaluation.files import report_files
    from synthmill.runtime.evaluate import EvaluateRequest, report_on

    question = EvaluateRequest(
        dataset=request.dataset, profile="quick", gates=request.gates, workers=request.workers
    )
    try:
        report = report_on(
            work.store,
            work.generator,
            draft.folder,
            files,
            question,
            dataset=draft.ref,
            plan=plan,
            # Of sequences only their number was requested, which shards keep to.
            requested_rows=plan.rows if work.generator.codec.steps is None else None,
        )
    except DataError as fault:
        # The source may be gone or changed since training; the rows are good all the same.
        return None, str(fault)
    for name, content in report_files(report).items():
        draft.folder.write_bytes(f"_{name}", content)
    return report, report.summary


def _gate(request: AugmentRequest, draft: Draft, report: "Report | None", why: str) -> None:
    if request.require is None or (
        report is not None and report.passed(allow_inconclusive=request.allow_inconclusive)
    ):
        return
    verdict = report.verdict if report else "inconclusive"
    # Not deleted: whoever reads the report may want to see the rows.
    where = draft.quarantine(f"gates: {verdict}")
    raise GateFailedError(
        f"{request.dataset} was not published: {verdict}, {why}; parts and report are in {where}"
    )
