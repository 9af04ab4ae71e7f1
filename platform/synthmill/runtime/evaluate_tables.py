"""Evaluate a dataset of several tables against the real ones: relations here, each table's own figures as Ray
tasks, the report as a version in the store."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from synthmill.catalog.dataset import read_entry
from synthmill.catalog.manifest import FileEntry, Parent
from synthmill.catalog.store import Store, Version
from synthmill.catalog.tables import table_entries, table_names
from synthmill.config import StorageConfig, fingerprint, parse_model
from synthmill.data.columns import Bool
from synthmill.data.readers.base import read_source
from synthmill.data.relations.database import Database, assemble
from synthmill.data.relations.schema import TablesConfig
from synthmill.data.written import as_learnt, read_texts
from synthmill.errors import DataError, UserError
from synthmill.evaluation.anywhere import evaluate as evaluate_table
from synthmill.evaluation.evidence.base import evidence_door
from synthmill.evaluation.gates import Gates, load_gates
from synthmill.evaluation.relations import relations_report
from synthmill.evaluation.report import Report
from synthmill.evaluation.tables_report import TablesReport
from synthmill.generation.condition import Where
from synthmill.generation.several import SeveralGenerators
from synthmill.runtime import cluster
from synthmill.runtime.evaluate import EvaluateRequest, model_of
from synthmill.runtime.progress import say
from synthmill.runtime.tasks import map_on_ray
from synthmill.storage.folder import Folder

COMPARED_ROWS = 500_000
"""First rows of a table whose columns are compared; keys are compared of all rows. Families stand together:
the first rows of a table hang on the first rows of its owner."""


@dataclass(frozen=True)
class TablesEvaluation:
    """A stored report."""

    version: Version
    report: TablesReport

    @property
    def verdict(self) -> str:
        return self.report.verdict

    @property
    def why(self) -> str:
        return self.report.summary


def evaluate_tables(
    request: EvaluateRequest,
    store_uri: str,
    *,
    run_id: str,
    storage: StorageConfig | None = None,
    output: str | None = None,
) -> TablesEvaluation:
    """Evaluate a published dataset of several tables and store the report as `reports/<dataset>@N`.

    Raises:
        UserError: no such dataset, a source that changed since training, an option that is for one table.
    """
    if request.baseline is not None:
        raise UserError("can't be given for several tables yet; leave it out", field="--baseline")
    store = Store(store_uri, storage or StorageConfig())
    version = store.resolve("datasets", request.dataset, field="--dataset")
    model = SeveralGenerators.load(store.resolve("models", model_of(version), field="--dataset"))
    check_gates(request)
    files = {name: table_entries(version, name) for name in table_names(version)}
    with cluster.session():
        where = version.manifest.details["family_plan"].get("where", {})
        report = judged(store, model, version.folder, files, request, dataset=version.ref, where=where)
    saved = _save(store, version, model, report, request, run_id)
    for name, content in report.files().items() if output else ():
        Folder(str(output)).write_bytes(name, content)
    return TablesEvaluation(saved, report)


def check_gates(request: EvaluateRequest) -> Gates:
    """The gates of the request; called before any work, so that a mistake in them surfaces early."""
    return load_gates(request.gates or "default", shipped=evidence_door("table").gates_file())


def judged(
    store: Store,
    model: SeveralGenerators,
    folder: Folder,
    files: Mapping[str, Sequence[FileEntry]],
    request: EvaluateRequest,
    *,
    dataset: str,
    where: Mapping[str, Sequence[str]],
) -> TablesReport:
    """The report on the tables' parts in a folder, committed or not; needs a Ray session. Families that were
    generated under conditions (`where`, by table) are compared with real ones that meet them.

    Raises:
        DataError: the source can't be read, or is not the one that was trained on.
    """
    base = _asked(_real(store, model), model, where)
    gates = check_gates(request)
    learnt = {table.name: list(table.own) for table in model.spec.tables}
    synthetic = {name: _read(model, name, folder, files[name]) for name in base.order}
    keys_of = {name: _read_keys(model, name, folder, files[name]) for name in base.order}
    real = {name: base.table(name) for name in base.order}
    relations = relations_report(model.spec, real, synthetic, base.sides, learnt, keys_of)
    reports: dict[str, Report] = {}
    not_judged: dict[str, str] = {}
    for name in base.order:
        if not learnt[name]:
            not_judged[name] = "it has no column but keys"
            continue
        say(f"comparing {name} with the real rows")
        train, validation, holdout = (
            base.table(name).filter(pa.array(base.sides[name] == side)).select(learnt[name])
            for side in range(3)
        )
        try:
            reports[name] = evaluate_table(
                synthetic[name].select(learnt[name]),
                train=train,
                validation=validation,
                holdout=holdout,
                target=base.config.tables[name].target,
                kind="table",
                profile=request.profile,
                gates=gates,
                seed=request.seed,
                sample_rows=request.rows,
                options=request.options,
                provenance={"dataset": dataset, "table": name, "model": model.ref},
                map_tasks=map_on_ray(request.workers),
            )
        except DataError as fault:
            # A table of a few rows must not keep the others from being judged.
            not_judged[name] = str(fault)
    codecs = {name: model.generators[name].codec for name in base.order}
    met = {
        name: float(codec.holds(synthetic[name]).mean())
        for name, codec in codecs.items()
        if codec.constraints and synthetic[name].num_rows
    }
    return TablesReport(relations=relations, tables=reports, not_judged=not_judged, constraints=met)


def _real(store: Store, model: SeveralGenerators) -> Database:
    """The tables that the model was trained on, divided as they were.

    Raises:
        DataError: a source that changed since, or that was in memory.
    """
    config = parse_model(TablesConfig, model.config["schema"])
    for name, source in model.config["sources"].items():
        if str(source["uri"]).startswith("memory://"):
            raise DataError(
                f"{name!r} was fitted on rows in memory, which can't be read again; train from files",
                field="--dataset",
            )
    base = assemble(config, lambda _, data, rules: read_source(data, store=store, rules=rules))
    for name, source in model.config["sources"].items():
        if base.sources[name].sha256 != source["sha256"]:
            raise DataError(
                f"{source['uri']} has changed since the model was trained; restore it or train again",
                field="--dataset",
            )
    return base


def _asked(base: Database, model: SeveralGenerators, where: Mapping[str, Sequence[str]]) -> Database:
    """The tables with only such families as the conditions ask for; all of them without any.

    Raises:
        DataError: no training row of a table is like that.
    """
    if not where:
        return base
    kept: dict[str, Bool] = {}
    for name in base.order:
        owner = base.owner(name)
        kept[name] = np.ones(base.table(name).num_rows, dtype=bool)
        if owner is not None:
            # Rows without an owner are in no family that is asked for.
            above = kept[owner.parent][np.maximum(owner.index, 0)] & (owner.index >= 0)
            asked = model.spec.root_of(name) in where
            kept[name] = above if asked else kept[name]
        elif name in where:
            own = model.spec.table(name).own
            kinds = model.generators[name].codec.typed_schema
            typed = as_learnt(base.table(name).select(own), pa.schema([kinds.field(one) for one in own]))
            kept[name] = Where.parse(where[name]).mask(typed)
            if not (kept[name] & (base.sides[name] == 0)).any():
                raise DataError(
                    f"no training row of {name!r} has {' and '.join(where[name])}: there is nothing to"
                    " compare such families with",
                    field="--where",
                )
    sources = {
        name: replace(source, table=source.table.filter(pa.array(kept[name])))
        for name, source in base.sources.items()
    }
    return replace(base, sources=sources, sides={name: base.sides[name][kept[name]] for name in base.order})


def _read(model: SeveralGenerators, name: str, folder: Folder, files: Sequence[FileEntry]) -> pa.Table:
    """The first rows of a table as they are compared: text in a form is what it stands for."""
    first: list[pa.Table] = []
    schema = model.schema(name)
    for entry in files:
        if sum(part.num_rows for part in first) >= COMPARED_ROWS:
            break
        first.append(read_entry(folder, entry, schema))
    table = (pa.concat_tables(first) if first else schema.empty_table()).slice(0, COMPARED_ROWS)
    spec, codec = model.spec.table(name), model.generators[name].codec
    own = codec.form.select(spec.own).read(table.select(spec.own))
    typed = read_texts(own, pa.schema([codec.typed_schema.field(column) for column in spec.own]))
    for column in spec.columns:
        if column not in spec.own:
            typed = typed.append_column(table.schema.field(column), table[column])
    return typed


def _read_keys(model: SeveralGenerators, name: str, folder: Folder, files: Sequence[FileEntry]) -> pa.Table:
    """Keys and foreign keys of all rows of a table."""
    spec, schema = model.spec.table(name), model.schema(name)
    filled = set(spec.key).union(*(one.columns for one in spec.relations))
    columns = [column for column in spec.columns if column in filled]
    parts = [read_entry(folder, entry, schema, columns) for entry in files]
    empty = pa.schema([schema.field(column) for column in columns]).empty_table()
    return pa.concat_tables(parts) if parts else empty


def _save(
    store: Store,
    dataset: Version,
    model: SeveralGenerators,
    report: TablesReport,
    request: EvaluateRequest,
    run_id: str,
) -> Version:
    key = fingerprint(
        {"dataset": dataset.manifest.content_digest, "profile": request.profile, "seed": request.seed}
    )
    with store.begin("reports", dataset.name, run_key=key, run_id=run_id) as draft:
        entries = []
        for name, content in report.files().items():
            draft.folder.write_bytes(name, content)
            entries.append(
                FileEntry(path=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            )
        details: dict[str, Any] = {
            "profile": request.profile,
            "tables": [table.name for table in model.spec.tables],
        }
        manifest = draft.manifest(
            files=tuple(entries),
            parents=(
                Parent(kind="dataset", ref=dataset.ref, digest=dataset.manifest.content_digest),
                Parent(kind="model", ref=model.ref, digest=model.digest),
            ),
            seed=request.seed,
            gate={
                "verdict": report.verdict,
                "report": "report.json",
                "report_sha256": report.digest,
            },
            holdout_opened=1,
            details=details,
        )
        return draft.commit(manifest)
