"""Judging data that anybody made (SDV, a vendor, a colleague) against the real rows. Needs no Ray."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import pyarrow as pa

from synthmill import registry
from synthmill.config import DataConfig
from synthmill.data.readers.base import DEFAULT_KIND, Source, load_rules
from synthmill.data.scan.looked_at import read_side
from synthmill.errors import NotFoundError, UserError
from synthmill.evaluation.anywhere import evaluate, kind_of
from synthmill.evaluation.evidence.base import Options, Rows, evidence_door, refuse_ignored
from synthmill.evaluation.gates import load_gates
from synthmill.evaluation.report import Report
from synthmill.library.frames import ArrowStream, Frame, read_frame, to_table
from synthmill.metrics.base import KINDS, Profile
from synthmill.metrics.lib.sequences import SequenceColumns


@dataclass(frozen=True, kw_only=True)
class Question:
    """What to judge by, and how thoroughly; the fields are those of `api.evaluate`."""

    target: str | None
    sequence: SequenceColumns | None
    kind: str | None
    schema: str | None
    profile: Profile
    gates: str
    baseline: Report | str | PathLike[str] | None
    seed: int
    sample_rows: Rows
    options: Options


def judge(
    synthetic: Frame, train: Frame, validation: Frame | None, holdout: Frame | None, asked: Question
) -> Report:
    """The report on synthetic rows; the training rows are read first: they say what kind of data it is."""
    first, kind = _read_train(train, asked)
    refuse_ignored(kind, asked.options)
    gates = load_gates(asked.gates, shipped=evidence_door(kind, field="kind").gates_file())
    baseline = _baseline(asked.baseline)
    # A target is looked for in the training rows alone: the other sides are held against those anyway.
    config = DataConfig(source="-", kind=kind, schema_file=asked.schema)
    sides = {"validation": validation, "holdout": holdout, "synthetic": synthetic}
    read = {name: _read(side, config, name) for name, side in sides.items() if side is not None}
    report = evaluate(
        read["synthetic"].table,
        train=first.table,
        validation=_table(read.get("validation")),
        holdout=_table(read.get("holdout")),
        # A reader may have given the label column the name that its kind uses.
        target=asked.target if asked.target in first.table.column_names else None,
        sequence=asked.sequence,
        kind=kind,
        profile=asked.profile,
        rules=load_rules(config),
        gates=gates,
        baseline=baseline,
        seed=asked.seed,
        sample_rows=asked.sample_rows,
        options=asked.options,
        provenance={
            "source_sha256": first.sha256,
            "synthetic_sha256": read["synthetic"].sha256,
        },
    )
    notes = [f"{side}: {note}" for side, one in {"train": first, **read}.items() for note in one.notes]
    return report.model_copy(update={"warnings": (*notes, *report.warnings)}) if notes else report


def _read(side: Frame, config: DataConfig, name: str) -> Source:
    """A side: rows in memory, or a path, of which what is too large to be loaded is sampled."""
    if isinstance(side, str | PathLike):
        return read_side(config.model_copy(update={"source": fspath(side)}))
    # What is no table either is refused there.
    return read_frame(side, config, field=name)


def _read_train(train: Frame, asked: Question) -> tuple[Source, str]:
    """The training rows, and the kind of data they are: what the caller says, what columns in memory say, or
    the first kind whose reader takes the files, tables before all others."""
    if asked.kind is not None:
        evidence_door(asked.kind, field="kind")
        kinds = [asked.kind]
    elif isinstance(train, ArrowStream):
        kinds = [kind_of(to_table(train, field="train").schema)]
    else:
        kinds = sorted(registry.names(KINDS), key=lambda kind: (kind != DEFAULT_KIND, kind))
    refused: UserError | None = None
    for kind in kinds:
        config = DataConfig(source="-", kind=kind, target=asked.target, schema_file=asked.schema)
        try:
            return _read(train, config, "train"), kind
        except UserError as fault:
            refused = refused or fault
    assert refused is not None
    raise refused


def _table(source: Source | None) -> pa.Table | None:
    return None if source is None else source.table


def _baseline(given: Report | str | PathLike[str] | None) -> Mapping[str, Any] | None:
    if given is None:
        return None
    if isinstance(given, Report):
        return dict(json.loads(given.to_json()))
    try:
        return dict(json.loads(Path(fspath(given)).read_bytes()))
    except (OSError, ValueError):
        raise NotFoundError(
            f"no report at {fspath(given)!r}; give its report.json", field="baseline"
        ) from None
