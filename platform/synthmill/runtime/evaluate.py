"""Evaluate a dataset against the real rows its model never saw: metrics as Ray tasks, the report as a version
in the store."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from synthmill.catalog.dataset import part_entries, read_entry
from synthmill.catalog.manifest import FileEntry, Parent
from synthmill.catalog.provenance import SYNTHETIC_COLUMN, source_type
from synthmill.catalog.store import Store, Version
from synthmill.config import StorageConfig, fingerprint
from synthmill.data.origin import Form
from synthmill.data.written import read_texts
from synthmill.errors import DataError, NotFoundError
from synthmill.evaluation.evaluate import evaluate as evaluate_tables
from synthmill.evaluation.evidence.base import evidence_door, refuse_ignored
from synthmill.evaluation.files import report_files
from synthmill.evaluation.gates import Gates, load_gates
from synthmill.evaluation.report import Report
from synthmill.evaluation.tables import Tables
from synthmill.generation.generator import Generator
from synthmill.generation.shards import ShardPlan
from synthmill.metrics.lib.sequences import SequenceColumns
from synthmill.runtime import cluster
from synthmill.runtime.evaluate_request import Thoroughness
from synthmill.runtime.requested import as_requested
from synthmill.runtime.retrain import Retrain
from synthmill.runtime.source import gates_name, rules_of, sampled_note, source_tables
from synthmill.runtime.tasks import map_on_ray
from synthmill.storage.folder import Folder


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest(Thoroughness):
    """Which dataset to evaluate, and how thoroughly."""

    dataset: str
    gates: str | None = None
    """A gates file, or `default`; None: what the model's recipe says."""
    workers: int | None = None
    """Concurrent tasks; None: one for each CPU."""


@dataclass(frozen=True)
class Evaluation:
    """A stored report."""

    version: Version
    report: Report

    @property
    def verdict(self) -> str:
        return self.report.verdict

    @property
    def why(self) -> str:
        """One sentence."""
        return self.report.summary

    def findings(self) -> list[str]:
        """A line for each metric whose gate failed or could not be decided, the worst first."""
        lines: dict[str, str] = {}
        for gate in self.report.failing():
            status = "warning" if gate.status == "fail" and gate.severity != "error" else gate.status
            lines.setdefault(gate.metric, f"{gate.metric}: {status}, {gate.explain}")
        return list(lines.values()) or [self.why]


@dataclass(frozen=True)
class FolderPart:
    """One Parquet part of a dataset; real rows that stand among the synthetic ones are left out."""

    folder: Folder
    entry: FileEntry
    first_row: int
    form: Form
    """How the model's columns are published."""
    schema: pa.Schema
    """The model's columns, as they are compared: text in a form is what it stands for."""

    def load(self) -> pa.Table:
        """Its synthetic rows, verified."""
        published = self.form.schema
        if SYNTHETIC_COLUMN not in published.names:
            published = published.append(pa.field(SYNTHETIC_COLUMN, pa.bool_()))
        part = read_entry(self.folder, self.entry, published)
        # Categories, numbers of classes and the like are a matter of form; metrics compare decoded values.
        table = self.form.read(part)
        if SYNTHETIC_COLUMN in table.column_names and SYNTHETIC_COLUMN not in self.form.schema.names:
            table = table.filter(table[SYNTHETIC_COLUMN]).drop_columns([SYNTHETIC_COLUMN])
        return read_texts(table, self.schema)


def check_gates(given: str | None, generator: Generator) -> Gates:
    """The gates of the request, or else those of the model's recipe; called before any work, so that a
    mistake in them surfaces early."""
    return load_gates(gates_name(given, generator), shipped=evidence_door(generator.kind).gates_file())


def evaluate(
    request: EvaluateRequest,
    store_uri: str,
    *,
    run_id: str,
    storage: StorageConfig | None = None,
    output: str | None = None,
) -> Evaluation:
    """Evaluate a published dataset and store the report as `reports/<dataset>@N`.

    Raises:
        UserError: no such dataset, or its source changed since training.
    """
    store = Store(store_uri, storage or StorageConfig())
    version = store.resolve("datasets", request.dataset, field="--dataset")
    model = store.resolve("models", model_of(version), field="--dataset")
    generator = Generator.load(model)
    check_gates(request.gates, generator)
    refuse_ignored(generator.kind, request.options)
    baseline = _baseline(store, request.baseline)
    with cluster.session():
        report = report_on(
            store,
            generator,
            version.folder,
            part_entries(version),
            request,
            baseline=baseline,
            dataset=version.ref,
            plan=plan_of(version),
        )
    files = report_files(report)
    saved = _save(store, version, model, report, files, request, run_id)
    if output:
        for name, content in files.items():
            Folder(output).write_bytes(name, content)
    return Evaluation(saved, report)


def report_on(
    store: Store,
    generator: Generator,
    folder: Folder,
    entries: Sequence[FileEntry],
    request: EvaluateRequest,
    *,
    baseline: Mapping[str, Any] | None = None,
    dataset: str,
    plan: ShardPlan | None = None,
    requested_rows: int | None = None,
) -> Report:
    """The report on parts in a folder, committed or not; needs a Ray session."""
    gates = check_gates(request.gates, generator)
    codec = generator.codec
    parts, first_row = [], 0
    for entry in entries:
        parts.append(FolderPart(folder, entry, first_row, codec.form, codec.typed_schema))
        first_row += entry.rows or 0
    real = source_tables(store, generator)
    config: dict[str, Any] = dict(generator.config)
    rules = rules_of(store, config)
    retrain = None
    if request.profile in ("full", "audit") and codec.steps is None:
        # Ten trainings or so share the budget.
        seconds = request.budget_seconds / 10 if request.budget_seconds else None
        retrain = Retrain(config["recipe"], rules, seconds)
    note = sampled_note(real)
    tables = Tables(
        train=real.train,
        validation=real.validation,
        holdout=real.holdout,
        synthetic=parts,
        codec=generator.codec,
        kept_rare=_kept_rare(generator),
        group=real.split.group,
        sequence=None
        if codec.steps is None
        else SequenceColumns(codec.steps.plan.keys, codec.steps.plan.order),
        levels={name: rule.categories for name, rule in rules.items() if rule.categories is not None},
        notes=() if note is None else (note,),
    )
    return evaluate_tables(
        tables if plan is None else as_requested(tables, plan, request.seed),
        kind=generator.kind,
        target=config["recipe"]["data"]["target"],
        profile=request.profile,
        seed=request.seed,
        sample_rows=request.rows,
        gates=gates,
        baseline=baseline,
        provenance={
            "dataset": dataset,
            "model": generator.ref,
            "model_digest": generator.digest,
            "source_sha256": real.split.source_sha256,
            "label": source_type(mixed=False).rpartition("/")[2],
            "contains_training_rows": generator.model.copies_training_rows,
        },
        map_tasks=map_on_ray(request.workers),
        requested_rows=requested_rows,
        options=request.options,
        retrain=retrain,
        sheets=evidence_door(generator.kind).sheets_of(generator, request.seed),
    )


def plan_of(version: Version) -> ShardPlan | None:
    """The request that a dataset was generated for; None for datasets that do not say."""
    plan = version.manifest.details.get("plan")
    return None if plan is None else ShardPlan.model_validate(plan)


def model_of(version: Version) -> str:
    """The model that a dataset was generated by."""
    ref = next((parent.ref for parent in version.manifest.parents if parent.kind == "model"), None)
    if ref is None:
        raise DataError(
            f"{version.ref} names no model it came from; only generated datasets can be evaluated",
            field="--dataset",
        )
    return ref


def _baseline(store: Store, ref: str | None) -> Mapping[str, Any] | None:
    if ref is None:
        return None
    if Path(ref).is_file():
        text = Path(ref).read_text()
    else:
        text = store.resolve("reports", ref, field="--baseline").folder.read_bytes("report.json").decode()
    try:
        report: Mapping[str, Any] = json.loads(text)
    except ValueError:
        raise NotFoundError(f"{ref} is not a report", field="--baseline") from None
    return report


def _save(
    store: Store,
    dataset: Version,
    model: Version,
    report: Report,
    files: Mapping[str, bytes],
    request: EvaluateRequest,
    run_id: str,
) -> Version:
    key = fingerprint(
        {
            "dataset": dataset.manifest.content_digest,
            "report": report.config,
            "inputs": report.inputs,
            "seed": request.seed,
        }
    )
    digest = model.manifest.content_digest
    # Of all reports on this model: the more often a holdout is looked at, the less its figures prove.
    opened = 1 + sum(
        other.manifest.holdout_opened > 0
        and any(parent.kind == "model" and parent.digest == digest for parent in other.manifest.parents)
        for other in store.open_versions("reports")
    )
    with store.begin("reports", dataset.name, run_key=key, run_id=run_id) as draft:
        entries = []
        for name, content in files.items():
            draft.folder.write_bytes(name, content)
            entries.append(
                FileEntry(path=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            )
        manifest = draft.manifest(
            files=tuple(entries),
            parents=(
                Parent(kind="dataset", ref=dataset.ref, digest=dataset.manifest.content_digest),
                Parent(kind="model", ref=model.ref, digest=digest),
            ),
            seed=request.seed,
            gate={"verdict": report.verdict, "report": "report.json", "report_sha256": report.digest},
            holdout_opened=opened if report.inputs["holdout_rows"] else opened - 1,
            details={"profile": request.profile},
        )
        return draft.commit(manifest)


def _kept_rare(generator: Generator) -> str | None:
    """The target whose rare classes the model was told to keep."""
    data: dict[str, Any] = generator.config["recipe"]["data"]
    return data.get("target") if data.get("rare_target") == "keep" else None
