"""Rows of one table that occur in another one: notes for the report on data from elsewhere."""

import numpy as np
import pyarrow as pa

from synthmill.data.split import row_hashes

NOTABLE_SHARE = 0.01
"""Repeated rows below this share beyond what the training rows show among themselves are not worth a word."""


def repeat_notes(train: pa.Table, holdout: pa.Table | None, synthetic: pa.Table) -> list[str]:
    """What a person should know before reading figures that assume an unseen holdout and new rows."""
    # Hashes of whole rows, so that wide tables cost no more memory.
    known = row_hashes(train)
    distinct, counts = np.unique(known, return_counts=True)
    # Tables of few categories repeat rows by chance; the training rows show how often.
    by_chance = float(counts[counts > 1].sum() / max(1, len(known)))
    notes = []
    trained_on = "a holdout that was trained on hides copying; take rows that were never trained on"
    copies = "such rows are copies, unless the columns are so few that rows repeat by chance"
    for side, table, then in (("holdout", holdout, trained_on), ("synthetic", synthetic, copies)):
        if table is None or not table.num_rows:
            continue
        hits = int(np.isin(row_hashes(table.select(train.column_names)), distinct).sum())
        if hits / table.num_rows > by_chance + NOTABLE_SHARE:
            notes.append(
                f"{hits:,} of {table.num_rows:,} {side} rows ({hits / table.num_rows:.1%}) are training rows,"
                f" where {by_chance:.1%} would be chance: {then}"
            )
    return notes
