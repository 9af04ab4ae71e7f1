"""Judging data that anybody made (SDV, a vendor, a colleague) against the real rows. Needs no Ray."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from synthmill.config import DataConfig
from synthmill.data.profile import profile_table
from synthmill.data.readers.base import Source, load_rules
from synthmill.errors import NotFoundError
from synthmill.evaluation.evaluate import Profile, Tables
from synthmill.evaluation.evaluate import evaluate as evaluate_tables
from synthmill.evaluation.gates import load_gates
from synthmill.evaluation.report import Report
from synthmill.library.frames import Frame, read_frame


@dataclass(frozen=True, kw_only=True)
class Question:
    """What to judge by, and how thoroughly; the fields are those of `api.evaluate`."""

    target: str | None
    group: str | None
    schema: str | None
    profile: Profile
    gates: str
    baseline: Report | str | PathLike[str] | None
    seed: int
    sample_rows: int | Literal["all"] | None
    include: Sequence[str]
    secrets: Sequence[str]


def judge(
    synthetic: Frame, train: Frame, validation: Frame | None, holdout: Frame | None, asked: Question
) -> Report:
    """The report on synthetic rows; gates are checked before any row is read."""
    gates = load_gates(asked.gates)
    sides = {"train": train, "validation": validation, "holdout": holdout, "synthetic": synthetic}
    # The training rows decide what may be missing, a target or a group column; the others follow them.
    settings = DataConfig(source="-", kind="table", schema_file=asked.schema)
    named = settings.model_copy(
        update={
            "target": asked.target,
            "split": settings.split.model_copy(update={"group": asked.group}),
        }
    )
    read = {
        name: read_frame(side, named if name == "train" else settings, field=name)
        for name, side in sides.items()
        if side is not None
    }
    rules = load_rules(settings)
    tables = Tables(
        train=read["train"].table,
        validation=_table(read.get("validation")),
        holdout=_table(read.get("holdout")),
        synthetic=read["synthetic"].table,
        kinds=profile_table(read["train"].table, rules, named),
        group=asked.group,
        levels={name: rule.categories for name, rule in rules.items() if rule.categories is not None},
    )
    return evaluate_tables(
        tables,
        target=asked.target,
        profile=asked.profile,
        seed=asked.seed,
        sample_rows=asked.sample_rows,
        gates=gates,
        baseline=_baseline(asked.baseline),
        provenance={name: source.uri for name, source in read.items()},
        include=asked.include,
        secrets=asked.secrets,
    )


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
