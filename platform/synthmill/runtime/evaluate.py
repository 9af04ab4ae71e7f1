"""Evaluate a dataset against the real rows its model never saw: metrics as Ray tasks, the report as a version in the store."""

from dataclasses import dataclass
from typing import Any, Literal

from synthmill.catalog.lineage import model_of
from synthmill.catalog.store import Store, Version
from synthmill.config import DataConfig, StorageConfig, parse_model
from synthmill.data.sources import read_source
from synthmill.data.split import Split, SplitTables, open_split
from synthmill.evaluation.files import report_files
from synthmill.evaluation.report import Report
from synthmill.generation.generator import Generator
from synthmill.runtime import cluster
from synthmill.storage.folder import Folder

REPORT_FILE = "_report.json"


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """What to evaluate, and how thoroughly."""

    dataset: str
    profile: Literal["quick", "standard", "full", "audit"] = "standard"
    gates: str = "default"
    baseline: str | None = None
    seed: int = 0
    sample_rows: str | None = None
    budget_seconds: float | None = None
    workers: int | None = None


@dataclass(frozen=True)
class Evaluation:
    """A stored report."""

    version: Version
    report: Report

    @property
    def verdict(self) -> str:
        return self.report.verdict


def evaluate(
    request: EvaluateRequest, store_uri: str, *, run_id: str, storage: StorageConfig | None = None, output: str | None = None
) -> Evaluation:
    """Evaluate a published dataset and store the report as `reports/<dataset>@N`.

    Raises:
        UserError: no such dataset, or its source changed since training.
    """
    storage = storage or StorageConfig()
    store = Store(store_uri, storage)
    version = store.resolve("datasets", request.dataset, field="--dataset")
    generator = Generator.load(store.resolve("models", model_of(version), field="--dataset"))
    with cluster.session():
        report = _report(store, generator, version.folder, version.manifest.files, request, dataset=version)
    files = report_files(report)
    saved = _save(store, version, report, files, run_id)
    if output:
        for name, content in files.items():
            Folder(output).write_bytes(name, content)
    return Evaluation(saved, report)


def source_tables(store: Store, generator: Generator) -> SplitTables:
    """The real rows a model was trained beside, split as they were then.

    Raises:
        DataError: the source can't be read, or is not the one that was trained on.
    """
    config: dict[str, Any] = dict(generator.config)
    data = parse_model(DataConfig, config["recipe"]["data"])
    return open_split(read_source(data, store=store), parse_model(Split, config["split"]))
