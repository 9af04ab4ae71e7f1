"""Are synthetic rows nearer to training rows than to unseen ones? Overfitting, not privacy."""

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.attacks import sides
from synthmill.metrics.lib.columns import Floats
from synthmill.metrics.lib.intervals import wilson
from synthmill.metrics.lib.neighbours import Points, nearest
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric

MIN_ROWS = 20
MIN_COLUMNS = 6
GROUPS = 3


class DcrShare(TableMetric):
    """Share of synthetic rows nearer to train than to holdout (ties one half); the largest over all columns
    and groups of them.

    Groups are clusters of associated columns, because a leak in some columns is diluted among all
    (mostlyai-qa). Passing says nothing about privacy: 5% copied rows move it by 0.025 (arXiv 2505.01524).
    """

    name = "overfit.dcr_share"
    title = "Nearer to train than to holdout"
    question = "Do synthetic rows lie nearer to training rows than to unseen ones?"
    axis = "overfit"
    goal = "target"
    target = 0.5
    bounds = (0.0, 1.0)
    needs = ("holdout",)
    advice = (
        "The generator fits training rows closer than unseen ones: stop earlier, regularise, use more rows."
        " Not a privacy figure."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        real, limit = evidence.real, evidence.settings.limits.neighbour_rows
        # Equal sides: the nearest of more rows is nearer.
        size = sides(evidence)
        fake = evidence.points("synthetic", limit)
        if min(size, len(fake)) < MIN_ROWS or not real.space.axes:
            return self.unavailable(f"{min(size, len(fake))} rows a side are too few; {MIN_ROWS} are needed")
        groups = column_groups(evidence)
        train, holdout = evidence.points("train", size), evidence.points("holdout", size)
        shares = {name: share_nearer(fake[:, c], train[:, c], holdout[:, c]) for name, c in groups.items()}
        worst = max(shares, key=lambda name: shares[name])
        reference = None
        if real.validation is not None and real.validation.num_rows >= MIN_ROWS:
            other = evidence.points("validation", limit)
            reference = max(share_nearer(other[:, c], train[:, c], holdout[:, c]) for c in groups.values())
        return self.result(
            value=shares[worst],
            ci=wilson(round(shares[worst] * len(fake)), len(fake), evidence.confidence),
            reference=reference,
            n={"train": size, "holdout": size, "synthetic": len(fake)},
            gate_n=min(size, len(fake)),
            method=(
                "equal seeded samples; largest over column groups; Wilson interval of that group; reference:"
                " validation rows instead"
            ),
            aspects={"all_columns": Estimate(value=shares["all columns"], reference=0.5)},
            details={"groups": shares},
        )


def share_nearer(rows: Points, train: Points, holdout: Points) -> float:
    """Share of rows nearer to train than to holdout; ties count one half."""
    to_train, to_holdout = (nearest(rows, side)[0][:, 0] for side in (train, holdout))
    # In discrete tables most distances are ties, which speak for neither side.
    return float((to_train < to_holdout).mean() + 0.5 * (to_train == to_holdout).mean())


def column_groups(evidence: TableEvidence) -> dict[str, Floats]:
    """All coordinates, and with at least 6 columns those of up to 3 clusters of associated columns."""
    slices = evidence.real.space.groups
    width = sum(s.stop - s.start for s in slices.values())
    groups = {"all columns": np.arange(width)}
    names, known = list(slices), evidence.real.plan.association
    if len(names) < MIN_COLUMNS:
        return groups
    far = np.ones((len(names), len(names)))
    np.fill_diagonal(far, 0.0)
    for (a, b), strength in known.items():
        i, j = names.index(a), names.index(b)
        far[i, j] = far[j, i] = 1 - strength
    # Average linkage of 1 - association: columns that describe one thing leak together.
    label = fcluster(linkage(squareform(far, checks=False), "average"), GROUPS, "maxclust")
    for k in np.unique(label):
        members = [name for name, own in zip(names, label, strict=True) if own == k]
        if 2 <= len(members) < len(names):
            groups[", ".join(members)] = np.concatenate(
                [np.arange(slices[m].start, slices[m].stop) for m in members]
            )
    return groups
