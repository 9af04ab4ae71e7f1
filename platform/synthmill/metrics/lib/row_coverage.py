"""Coverage and density of rows: the synthetic and the holdout rows against the training rows."""

from dataclasses import dataclass

from synthmill.metrics.lib.prdc import K_DENSITY, Coverage, coverage, neighbour_radii
from synthmill.metrics.lib.table_evidence import TableEvidence


@dataclass(frozen=True)
class RowCoverage:
    """Equal rows on every side; no holdout figures where it has fewer."""

    synthetic: Coverage
    holdout: Coverage | None
    tied: float
    """Share of training rows with 5 equal ones: the density counts nothing within a radius of 0."""


def row_coverage(evidence: TableEvidence) -> RowCoverage | None:
    """None where there are too few rows."""
    limit, real = evidence.settings.limits.neighbour_rows, evidence.real
    holdout = real.holdout.num_rows if real.holdout is not None else 0
    sizes = [real.train.num_rows, evidence.sample.num_rows, *([limit] if limit else [])]
    # A holdout of a few rows would make the comparison of all sides as small as it is.
    size = min([*sizes, holdout]) if holdout > 10 * K_DENSITY else min(sizes)
    if size < 2 * K_DENSITY or not real.space.axes:
        return None
    # Neighbourhoods of train, as in the paper; the holdout takes the place of the synthetic rows.
    train = evidence.points("train", size)
    radii_NK = neighbour_radii(train)
    return RowCoverage(
        synthetic=coverage(train, radii_NK, evidence.points("synthetic", size)),
        holdout=coverage(train, radii_NK, evidence.points("holdout", size)) if holdout >= size else None,
        tied=float((radii_NK[:, -1] == 0).mean()),
    )
