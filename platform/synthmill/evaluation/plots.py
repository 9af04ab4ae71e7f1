"""The numbers that report.html draws: shares of bins, gaps of pairs, distances; aggregates only."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from synthmill.metrics.base import Result
from synthmill.metrics.lib.binning import Bins
from synthmill.metrics.lib.neighbours import nearest
from synthmill.metrics.lib.singles import single_pair
from synthmill.metrics.lib.table_evidence import TableEvidence

WORST_COLUMNS = 9
CLOSEST = 12
CURVE_POINTS = 40
DIGITS = 3


def plot_data(evidence: TableEvidence, results: Mapping[str, Result]) -> dict[str, Any]:
    """What the report draws, as plain JSON data."""
    out: dict[str, Any] = {"columns": _columns(evidence, results.get("tabular.marginal_gap"))}
    if evidence.real.holdout is not None:
        out["distances"] = _distances(evidence)
    return out


def closest_rows(evidence: TableEvidence) -> tuple[dict[str, Any], ...]:
    """The synthetic rows nearest to a real row: distance, its side, columns that differ; no cell is shown."""
    pair = single_pair(evidence) if evidence.real.holdout is not None else None
    if pair is None:
        return ()
    # Both sides together: near a training row means little if a holdout row would be as near.
    distance, index = nearest(pair.synthetic, np.concatenate([pair.train, pair.holdout]))
    slices, size = evidence.real.space.groups, len(pair.train)
    records = []
    for row in np.argsort(distance[:, 0], kind="stable")[:CLOSEST]:
        place = int(index[row, 0])
        side, real = ("train", pair.train[place]) if place < size else ("holdout", pair.holdout[place - size])
        differ = [name for name, s in slices.items() if not np.array_equal(pair.synthetic[row, s], real[s])]
        near = float(distance[row, 0])
        records.append({"distance": near, "side": side, "columns": len(slices), "differ": differ})
    return tuple(records)


def _columns(evidence: TableEvidence, gap: Result | None) -> list[dict[str, Any]]:
    if gap is None or not gap.per_column:
        return []
    worst = sorted(gap.per_column, key=lambda name: -gap.per_column[name])[:WORST_COLUMNS]
    real, counts = evidence.real, evidence.totals.counts
    tables = {"train": real.train_totals.counts, "synthetic": counts}
    if real.holdout_totals is not None:
        tables["holdout"] = real.holdout_totals.counts
    out = []
    for name in worst:
        bins = real.plan.bins[name]
        shares = {}
        for side, table in tables.items():
            coarse = np.bincount(bins.coarse, weights=table.marginals[name], minlength=bins.coarse_size)
            shares[side] = coarse / max(coarse.sum(), 1)
        # Empty bins would only make the others narrow.
        used = [i for i in display_order(bins) if any(s[i] > 0 for s in shares.values())]
        labels = bin_labels(bins)
        out.append(
            {
                "name": name,
                "gap": gap.per_column[name],
                "labels": [labels[i] for i in used],
                "shares": {side: [round(float(s[i]), 5) for i in used] for side, s in shares.items()},
            }
        )
    return out


def bin_labels(bins: Bins) -> list[str]:
    """A label for every coarse bin, in order; edges are rounded to 3 digits."""
    if bins.column.role != "numeric":
        shown = bins.coarse_size - 2
        return [*list(bins.levels)[:shown], "other", "missing"]
    edges = [_number(bins, edge) for edge in bins.edges]
    ranges = [*(f"to {edge}" for edge in edges), f"over {edges[-1]}"] if edges else ["all"]
    return [*ranges, *(f"= {_number(bins, atom)}" for atom in bins.atoms), "missing"]


def display_order(bins: Bins) -> list[int]:
    """Coarse bins in the order of their values: single points stand among the ranges, missing comes last."""
    if bins.column.role != "numeric":
        return list(range(bins.coarse_size))
    # A point mass is drawn after the range that ends at it.
    upper = [*bins.edges, np.inf, *bins.atoms]
    return [*sorted(range(bins.size - 1), key=lambda i: (upper[i], i)), bins.size - 1]


def _number(bins: Bins, value: float) -> str:
    arrow = bins.column.type
    if pa.types.is_temporal(arrow):
        unit = "D" if arrow.bit_width == 32 else getattr(arrow, "unit", "s")
        return str(np.array(int(value)).astype(f"datetime64[{unit}]").astype("datetime64[D]"))
    if value and abs(value) >= 1000:
        # Exact edges are training values, which a report must not show.
        digits = DIGITS - 1 - int(np.floor(np.log10(abs(value))))
        return f"{round(value, digits):,.0f}"
    return f"{value:.{DIGITS}g}"


def _distances(evidence: TableEvidence) -> dict[str, list[float]]:
    """Quantiles of the distance from each single train and holdout row to its nearest synthetic row."""
    pair = single_pair(evidence)
    if pair is None:
        return {}
    # Quantiles, not distances by row: a report must not describe one person.
    grid = np.linspace(0, 1, CURVE_POINTS)
    sides = {"train": pair.from_train[:, 0], "holdout": pair.from_holdout[:, 0]}
    return {side: [round(float(v), 4) for v in np.quantile(values, grid)] for side, values in sides.items()}
