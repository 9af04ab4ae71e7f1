"""Several tables: how near generated families come to real ones, and how fast they are learnt and generated.

    PYTHONPATH=platform:tests .venv/bin/python benchmarks/several_tables.py --customers 2000

The sources are those of `tests/retail.py`, whose dependences are stated there: a shop of two tables and one
of five. Every figure stands beside that of another draw of the same source (real against real). The
classifier's test is of children with their parent's columns joined, which also sees what a child has to do
with its parent.
"""

import argparse
import json
import resource
import time
from typing import Any

import numpy as np
import pyarrow as pa

import synthmill
from retail import FIVE, Tables, five_tables, two_levels
from synthmill.data.relations.spec import FamiliesSpec, RelationSpec, TableSpec
from synthmill.evaluation.relations import relations_report
from synthmill.library.tables import read_database

TWO = {
    "tables": {
        "customers": {"key": "customer_id", "foreign_keys": []},
        "orders": {"key": "order_id", "foreign_keys": ["customer_id -> customers"]},
    }
}
SOURCES = {"two": (two_levels, TWO), "five": (five_tables, FIVE)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", choices=sorted(SOURCES), nargs="*", default=sorted(SOURCES))
    given = parser.parse_args()
    for name in given.only:
        for seed in range(given.seeds):
            print(
                json.dumps({"source": name, "seed": seed, **measured(name, given.customers, seed)}, indent=1)
            )


def measured(name: str, customers: int, seed: int) -> dict[str, Any]:
    """The figures of one source, learnt from one draw and compared with others."""
    draw, schema = SOURCES[name]
    train, other = (draw(customers, seed=100 * seed + number) for number in range(2))
    started, before = time.perf_counter(), _cpu_seconds()
    model = synthmill.fit_tables(
        train, schema=schema, overrides={"training.seed": seed}, progress=False, name=name
    )
    fitted, cpu = time.perf_counter(), _cpu_seconds() - before
    made = model.sample(seed=seed)
    sampled = time.perf_counter()
    base = read_database(train, schema=schema)
    spec, learnt = model.families, {table.name: list(table.own) for table in model.families.tables}
    # All rows are training rows here; another draw is what they are held against.
    sides = {table: np.zeros(rows.num_rows, dtype=np.int64) for table, rows in train.items()}
    real = {table: base.table(table) for table in base.order}
    ours, ideal = (
        relations_report(
            spec, real, {name: rows.cast(real[name].schema) for name, rows in one.items()}, sides, learnt
        )
        for one in (made, other)
    )
    rows = sum(table.num_rows for table in made.values())
    relations = {
        one.relation: {
            "integrity": one.integrity,
            "cardinality": round(one.cardinality, 3),
            "cardinality_real": round(best.cardinality, 3),
            "dependence": _rounded(one.dependence),
            "dependence_real": _rounded(best.dependence),
            "dependence_none": _rounded(one.dependence_control),
            "c2st_joined": _c2st(spec, one.relation, made, train, other),
        }
        for one, best in zip(ours.relations, ideal.relations, strict=True)
    }
    return {
        "rows": {table: rows.num_rows for table, rows in train.items()},
        "fit_seconds": round(fitted - started, 1),
        "fit_cpu_seconds": round(cpu, 1),
        "rows_per_second": round(rows / (sampled - fitted)),
        "intact": ours.intact,
        "relations": relations,
    }


def _c2st(
    spec: FamiliesSpec, relation: str, made: Tables, train: Tables, other: Tables
) -> dict[str, float | None]:
    """AUC of a classifier that tells joined rows from real ones, and the same of real against real."""
    table, one = next(
        (table, one)
        for table in spec.tables
        for one in table.relations
        if relation == f"{table.name}.{', '.join(one.columns)} -> {one.parent}"
    )
    joined, real, held = (_joined(spec, table, one, tables) for tables in (made, train, other))
    report = synthmill.evaluate(joined, train=real, holdout=held, profile="standard")
    figure = report.metrics["fidelity.c2st_auc"]
    return {"value": _rounded(figure.value), "reference": _rounded(figure.reference)}


def _joined(spec: FamiliesSpec, table: TableSpec, one: RelationSpec, tables: Tables) -> pa.Table:
    """Rows of a table that name a parent, with its columns and theirs, without keys."""
    parent = spec.table(one.parent)
    above = tables[parent.name].select([*parent.key, *parent.own])
    above = above.rename_columns(
        [*(f"key {name}" for name in parent.key), *(f"above {c}" for c in parent.own)]
    )
    below = tables[table.name].select(list(dict.fromkeys([*one.columns, *table.own])))
    keys = [f"key {name}" for name in parent.key]
    for own, key in zip(one.columns, keys, strict=True):
        # Joins want one type; the source may have the child's as a narrower one.
        at = below.column_names.index(own)
        below = below.set_column(at, own, below[own].cast(above[key].type))
    found = below.join(above, list(one.columns), keys, join_type="inner")
    return found.select([*table.own, *(f"above {name}" for name in parent.own)])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
