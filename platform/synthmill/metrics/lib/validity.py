"""Cells that no real row has: how many there are, and whether chance could have made them."""

from dataclasses import dataclass

from scipy import stats

from synthmill.metrics.lib.counts import Rules, TableCounts

# With 0.001 a column, fresh real rows failed in 0 of 3,500 trials (docs/calibration.md).
CHANCE = 0.001


@dataclass(frozen=True)
class Validity:
    """What is invalid among `rows` synthetic rows."""

    rows: int
    invalid: int
    """Rows with an invalid cell."""
    beyond_chance: int
    """Those of them that chance does not explain."""
    reference: float | None
    """Valid share of the holdout; None: there is none."""
    cells: dict[str, int]
    """Invalid cells by column, of the columns that have some."""
    read: str
    """What was read, for the method."""


def row_validity(counts: TableCounts, rules: Rules, holdout: TableCounts | None) -> Validity:
    """Of a table whose rows were counted."""
    # Counted by column: 0 of N real rows and k of M synthetic ones may be chance in one column of many.
    suspect = sum(k for k in counts.suspect.values() if is_beyond(k, counts.rows, rules.real_rows))
    return Validity(
        rows=counts.rows,
        invalid=counts.invalid_rows,
        beyond_chance=min(counts.rows, counts.impossible_rows + suspect),
        reference=1 - holdout.invalid_rows / holdout.rows if holdout is not None and holdout.rows else None,
        cells=counts.invalid,
        read="every row",
    )


def is_beyond(suspect: int, rows: int, real_rows: int) -> bool:
    """Whether chance would hardly give `suspect` of `rows` synthetic rows when none of `real_rows` is."""
    return bool(stats.hypergeom.sf(suspect - 1, rows + real_rows, rows, suspect) < CHANCE)
