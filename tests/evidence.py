"""Tables and evidence for tests of metrics: people drawn from one known distribution, and ways to spoil
them."""

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa

from synthmill.evaluation.evaluate import compute
from synthmill.evaluation.evidence.table import Table, prepare, read_synthetic
from synthmill.evaluation.tables import Tables
from synthmill.metrics.base import Metric, Result, map_serially
from synthmill.metrics.lib.sequences import SequenceColumns
from synthmill.metrics.lib.table_evidence import Limits, Settings, TableEvidence

KINDS = {
    "age": "integer",
    "pay": "numeric",
    "hours": "integer",
    "city": "categorical",
    "smoker": "boolean",
    "joined": "date",
    "outcome": "categorical",
    "code": "identifier",
}


def people(rows: int, seed: int) -> pa.Table:
    """Rows of one distribution with every kind of column, dependence, a point mass, missing values and an
    identifier."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 90, rows)
    pay = np.round(np.exp(rng.normal(7 + age / 60, 0.5, rows)), 2)
    hours = np.where(rng.random(rows) < 0.4, 40, rng.integers(5, 80, rows))
    city = rng.choice(["Aachen", "Bern", "Graz", "Linz", "Ulm"], rows, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    smoker = rng.random(rows) < np.where(city == "Bern", 0.6, 0.2)
    joined = np.datetime64("2001-01-01", "D") + rng.integers(0, 7000, rows).astype("timedelta64[D]")
    risk = 0.05 * (age - 55) + 1.5 * smoker + 0.8 * (city == "Graz") - 0.5 + rng.logistic(0, 0.7, rows)
    return pa.table(
        {
            "age": pa.array(age, pa.int64()),
            "pay": pa.array(pay, mask=rng.random(rows) < 0.06),
            "hours": pa.array(hours, pa.int64()),
            "city": pa.array(city, pa.string()),
            "smoker": pa.array(smoker, mask=rng.random(rows) < 0.03),
            "joined": pa.array(joined.astype(dt.date), pa.date32()),
            "outcome": pa.array(np.where(risk > 0, "ill", "well"), pa.string()),
            "code": pa.array([f"P{seed:03d}-{i:06d}" for i in range(rows)], pa.string()),
        }
    )


def look(
    synthetic: pa.Table,
    *,
    train: pa.Table | None = None,
    holdout: pa.Table | None = None,
    validation: pa.Table | None = None,
    target: str | None = "outcome",
    kinds: dict[str, str] | None = None,
    constraints: tuple[str, ...] = (),
    limit: int | None = None,
    group: str | None = None,
    sequence: SequenceColumns | None = None,
    **settings: Any,
) -> TableEvidence:
    """TableEvidence about a table; by default people against 2,000 training and 1,000 holdout people."""
    train = people(2000, 1) if train is None else train
    real = prepare(
        Tables(train, validation, holdout, synthetic, KINDS if kinds is None else kinds, group, sequence),
        target=target,
        seed=0,
        constraints=constraints,
    )
    chosen = Settings(limits=Limits(limit, limit), **{"replicates": 100, "learner_seeds": 1, **settings})
    totals, sample, _ = read_synthetic(synthetic, real, chosen, map_serially)
    return TableEvidence(real, totals, sample, chosen)


def replaced(table: pa.Table, name: str, values: Any) -> pa.Table:
    """The table with one column replaced."""
    index = table.schema.get_field_index(name)
    return table.set_column(
        index, table.schema.field(index), pa.array(values, table.schema.field(index).type)
    )


def shuffled_columns(table: pa.Table, seed: int = 0) -> pa.Table:
    """Every column permuted on its own: right marginals, no dependence."""
    rng = np.random.default_rng(seed)
    return pa.table(
        {name: table[name].take(rng.permutation(table.num_rows)) for name in table.column_names},
        schema=table.schema,
    )


def with_copies(fresh: pa.Table, train: pa.Table, share: float, seed: int = 0) -> pa.Table:
    """Fresh rows, a share of which is replaced by training rows."""
    rng = np.random.default_rng(seed)
    count = round(share * fresh.num_rows)
    return pa.concat_tables(
        [train.take(rng.choice(train.num_rows, count, replace=False)), fresh.slice(count)]
    )


def computed(evidence: TableEvidence, *metrics: type[Metric[Any]]) -> dict[str, Result]:
    """Their results by name; one whose needs aren't met says so."""
    return compute(Table(evidence), metrics, evidence.confidence)
