"""Rows generated under conditions or with equal classes are compared with real rows that are alike."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.errors import DataError
from synthmill.evaluation.tables import Tables
from synthmill.generation.condition import Where
from synthmill.generation.shards import Quota, ShardPlan


def as_requested(tables: Tables, plan: ShardPlan, seed: int = 0) -> Tables:
    """The tables with only such real rows as the plan requests; unchanged when it requests any.

    Conditions choose rows. Classes are thinned out, by a seeded draw, to the plan's proportions.

    Raises:
        DataError: no training row is like that.
    """
    where = Where.parse(plan.where)
    if not where.clauses and not plan.quotas:
        return tables
    # Else the report would show the request as a fault: all synthetic rows earn more than the real ones.
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
    balanced = [f"classes of {plan.balance} balanced"] if plan.quotas else []
    request = " and ".join([*map(str, where.clauses), *balanced])
    if not sides["train"].num_rows:
        raise DataError(
            f"no training row has {request}: there is nothing to compare such rows with", field="--where"
        )
    return replace(tables, **sides, asked=request, whole=tables)


def _thinned(table: pa.Table, column: str, quotas: tuple[Quota, ...], rng: np.random.Generator) -> pa.Table:
    """As many rows as can be had with the classes in the proportions of the quotas; rows stay in order."""
    text = table[column].cast(pa.string())
    rows_of = {
        quota: np.flatnonzero(pc.equal(text, quota.value).fill_null(False).to_numpy())
        for quota in quotas
        if quota.rows
    }
    # The rarest class decides: no real row is used twice.
    share = min((len(rows) / quota.rows for quota, rows in rows_of.items()), default=0.0)
    chosen = [rng.permutation(rows)[: round(share * quota.rows)] for quota, rows in rows_of.items()]
    return table.take(np.sort(np.concatenate(chosen))) if chosen else table.slice(0, 0)
