"""Evaluate synthetic data in files, whoever made it. No Ray, no model, no store: one process."""

import json
from dataclasses import dataclass
from pathlib import Path

from synthmill import registry
from synthmill.catalog.store import Store
from synthmill.config import DataConfig, StorageConfig
from synthmill.data.readers.base import DEFAULT_KIND, Source
from synthmill.data.scan.looked_at import read_side
from synthmill.errors import DataError, NotFoundError, UserError
from synthmill.evaluation.anywhere import evaluate
from synthmill.evaluation.evidence.base import evidence_door, refuse_ignored
from synthmill.evaluation.files import report_files
from synthmill.evaluation.gates import load_gates
from synthmill.evaluation.report import Report
from synthmill.metrics.base import KINDS
from synthmill.runtime.evaluate_request import Thoroughness
from synthmill.storage.folder import Folder


@dataclass(frozen=True, kw_only=True)
class FilesRequest(Thoroughness):
    """What to evaluate: paths, folders or URIs of the synthetic data and of the real rows beside it."""

    synthetic: str
    train: str
    holdout: str | None = None
    """Real rows that the synthetic data's maker never saw; privacy and utility need them."""
    validation: str | None = None
    target: str | None = None
    schema: str | None = None
    """A schema file: kinds, bounds and categories of columns."""
    kind: str | None = None
    """table, image, ...; None: what the files hold."""
    gates: str = "default"


@dataclass(frozen=True)
class FilesEvaluation:
    """A report and where its files were written."""

    report: Report
    written: tuple[str, ...]
    """URIs, report.html first."""


def evaluate_files(
    request: FilesRequest, store_uri: str, *, storage: StorageConfig | None = None, output: str | None = None
) -> FilesEvaluation:
    """Read every side, evaluate, and write the report: into the folder `output`, else beside the synthetic
    file. The store is read only where a source is one of its datasets.

    Raises:
        UserError: a side that can't be read or compared; names the option and the fix.
    """
    settings = storage or StorageConfig()
    store = Store(store_uri, settings)
    # The cheap mistakes first: reading the sides may take minutes.
    baseline = _baseline(request.baseline)
    train, kind = _read_train(request, store)
    refuse_ignored(kind, request.options)
    shipped = evidence_door(kind, field="--kind").gates_file()
    gates = load_gates(request.gates, shipped=shipped)
    paths = {"holdout": request.holdout, "validation": request.validation, "synthetic": request.synthetic}
    sides = {
        side: _read(path, f"--{side}", kind, request, store)
        for side, path in paths.items()
        if path is not None
    }
    report = evaluate(
        sides["synthetic"].table,
        train=train.table,
        holdout=sides["holdout"].table if "holdout" in sides else None,
        validation=sides["validation"].table if "validation" in sides else None,
        # A reader may have given the label column the name that its kind uses.
        target=request.target if request.target in train.table.column_names else None,
        kind=kind,
        profile=request.profile,
        rules=train.rules,
        gates=gates,
        baseline=baseline,
        seed=request.seed,
        sample_rows=request.rows,
        options=request.options,
        provenance={
            "dataset": _name(request.synthetic),
            "source_sha256": train.sha256,
            "synthetic_sha256": sides["synthetic"].sha256,
        },
    )
    notes = [f"{side}: {note}" for side, one in {"train": train, **sides}.items() for note in one.notes]
    report = report.model_copy(update={"warnings": (*notes, *report.warnings)})
    return FilesEvaluation(report, _write(report, request.synthetic, output, settings))


def _read_train(request: FilesRequest, store: Store) -> tuple[Source, str]:
    """The training rows, and the kind of data they are: what was said, else the first whose reader takes
    them, tables first."""
    if request.kind is not None:
        evidence_door(request.kind, field="--kind")
        return _read(request.train, "--train", request.kind, request, store), request.kind
    kinds = sorted(registry.names(KINDS), key=lambda kind: (kind != DEFAULT_KIND, kind))
    refused: UserError | None = None
    for kind in kinds:
        try:
            return _read(request.train, "--train", kind, request, store), kind
        except UserError as fault:
            refused = refused or fault
    assert refused is not None
    raise refused


def _read(path: str, option: str, kind: str, request: FilesRequest, store: Store) -> Source:
    config = DataConfig(source=path, kind=kind, target=request.target, schema_file=request.schema)
    try:
        return read_side(config, store=store)
    except DataError as fault:
        # Readers name the recipe's fields; here the same things are options.
        message = str(fault).removeprefix(f"{fault.field}: ")
        other = {"data.target": f"{option} and --target", "data.schema": "--schema"}
        raise DataError(message, field=other.get(fault.field or "", option)) from None


def _baseline(path: str | None) -> dict[str, object] | None:
    if path is None:
        return None
    if not Path(path).is_file():
        raise NotFoundError(
            f"no file at {path}; give the report.json of an earlier report", field="--baseline"
        )
    try:
        report: dict[str, object] = json.loads(Path(path).read_text())
    except ValueError:
        raise NotFoundError(f"{path} is not a report", field="--baseline") from None
    return report


def _write(report: Report, synthetic: str, output: str | None, settings: StorageConfig) -> tuple[str, ...]:
    """All files into the folder that was named; else the page and the JSON beside the synthetic file, or in
    the working folder where that is not on this machine."""
    files = report_files(report)
    if output is not None:
        folder, names = Folder(output, settings), {name: name for name in files}
    else:
        beside = Path(synthetic).parent if Path(synthetic).exists() else Path()
        stem = _name(synthetic)
        folder = Folder(beside.resolve(), settings)
        names = {name: f"{stem}.{name}" for name in ("report.html", "report.json")}
    for name, written_as in names.items():
        folder.write_bytes(written_as, files[name])
    return tuple(folder.uri_of(names[name]) for name in sorted(names, key=lambda n: n != "report.html"))


def _name(path: str) -> str:
    """The last part of a path or URI without its ending."""
    last = path.rstrip("/").rpartition("/")[2] or "synthetic"
    return last.partition(".")[0] or last
