"""Rows that were asked for with conditions or with equal classes are compared with real rows that are so
too."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.errors import DataError
from synthmill.evaluation.tables import Tables
from synthmill.generation.condition import Where
from synthmill.generation.shards import Quota, ShardPlan


def as_asked(tables: Tables, plan: ShardPlan, seed: int = 0) -> Tables:
    """The tables with only such real rows as were asked for; as they are when nothing was.

    Conditions choose rows. Classes are thinned out, by a seeded draw, to the proportions in which they were
    asked for.

    Raises:
        DataError: no training row is like that.
    """
    where = Where.parse(plan.where)
    if not where.clauses and not plan.quotas:
        return tables
    sides = {}
    for number, name in enumerate(("train", "validation", "holdout")):
        side = getattr(tables, name)
        if side is not None:
            side = side.filter(pa.array(where.mask(side)))
            if plan.balance is not None and plan.quotas:
                side = _thinned(
                    side, plan.balance, plan.quotas, np.random.default_rng([seed & 0xFFFFFFFF, 50 + number])
                )
        sides[name] = side
    asked = " and ".join(
        [*map(str, where.clauses), *([f"classes of {plan.balance} balanced"] if plan.quotas else [])]
    )
    if not sides["train"].num_rows:
        raise DataError(
            f"no training row has {asked}: there is nothing to compare such rows with", field="--where"
        )
    return replace(tables, **sides, asked=asked, whole=tables)


def _thinned(table: pa.Table, column: str, quotas: tuple[Quota, ...], rng: np.random.Generator) -> pa.Table:
    """As many rows as can be had with the classes in the proportions of the quotas; rows stay in order."""
    text = table[column].cast(pa.string())
    found = {
        quota: np.flatnonzero(pc.equal(text, quota.value).fill_null(False).to_numpy())
        for quota in quotas
        if quota.rows
    }
    share = min((len(rows) / quota.rows for quota, rows in found.items()), default=0.0)
    kept = [rng.permutation(rows)[: round(share * quota.rows)] for quota, rows in found.items()]
    return table.take(np.sort(np.concatenate(kept))) if kept else table.slice(0, 0)
