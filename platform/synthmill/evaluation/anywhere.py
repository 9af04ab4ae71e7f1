"""Judge synthetic data from anywhere: tables in, a report out; no model, store or cluster needed."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from synthmill import registry
from synthmill.data.schema import ColumnRule
from synthmill.evaluation.evaluate import DEFAULTS
from synthmill.evaluation.evaluate import evaluate as run
from synthmill.evaluation.evidence.base import Options, Rows, evidence_door
from synthmill.evaluation.gates import Gates
from synthmill.evaluation.report import Report
from synthmill.evaluation.tables import Tables, has_rows
from synthmill.metrics.base import KINDS, MapTasks, Profile
from synthmill.metrics.lib.sequences import SequenceColumns

Rules = Mapping[str, ColumnRule]


def evaluate(
    synthetic: pa.Table,
    *,
    train: pa.Table,
    holdout: pa.Table | None = None,
    validation: pa.Table | None = None,
    target: str | None = None,
    sequence: SequenceColumns | None = None,
    kind: str | None = None,
    profile: Profile = "standard",
    rules: Rules | None = None,
    gates: Gates | None = None,
    baseline: Mapping[str, Any] | None = None,
    seed: int = 0,
    sample_rows: Rows = None,
    options: Options = DEFAULTS,
    provenance: Mapping[str, Any] | None = None,
    map_tasks: MapTasks | None = None,
) -> Report:
    """How good `synthetic` is beside the rows it was made from (`train`) and rows that its maker never saw
    (`holdout`); without a holdout there are no privacy and utility figures.

    Args:
        validation: further real rows; they choose learners where lift is measured.
        target: the column that downstream models predict.
        sequence: the columns that make sequences of the rows; None: rows stand for themselves.
        kind: `table`, `image`, ...; None: what the training table's columns say.
        rules: kinds, bounds and categories of columns, as a schema file states them.

    Raises:
        DataError: data that can't be compared; one line that names the table and every column at fault.
        UserError: an option that this kind of data would ignore.
    """
    # The training table decides: it is the one that a person is sure of.
    kind = kind or kind_of(train.schema)
    tables = Tables(
        train=train,
        validation=validation if has_rows(validation) else None,
        holdout=holdout if has_rows(holdout) else None,
        synthetic=synthetic,
        sequence=sequence,
    )
    return run(
        evidence_door(kind, field="kind").from_elsewhere(tables, target=target, rules=rules or {}),
        kind=kind,
        target=target,
        profile=profile,
        seed=seed,
        sample_rows=sample_rows,
        gates=gates,
        baseline=baseline,
        provenance=provenance,
        map_tasks=map_tasks,
        options=options,
    )


def kind_of(schema: pa.Schema) -> str:
    """The kind of data whose door says that such columns are its own; a table where none does."""
    claims = [name for name in registry.names(KINDS) if evidence_door(name).holds(schema)]
    return claims[0] if claims else "table"
