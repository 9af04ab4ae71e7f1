"""The split of a stream of rows: a row's side follows from its content, or its group, and a seed, so that
duplicates and groups stay together with nothing to remember.

Rows so common that the side of one content would decide what the sides look like are dealt out one by one, by
their numbers. Which contents those are is seen in the keyed sample.
"""

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthmill.config import SplitConfig
from synthmill.data.columns import Int64, UInt64, flat, valid_rows
from synthmill.data.mixing import mix
from synthmill.data.scan.content import Hasher, content_hashes
from synthmill.data.scan.sample import SAMPLE_ROWS, priorities
from synthmill.errors import DataError

COMMON_ROWS = 20
COMMON_SHARE = 0.01
TRAIN, VALIDATION, HOLDOUT = 0, 1, 2
Sides = npt.NDArray[np.int8]


def common_contents(sample: pa.Table) -> UInt64:
    """The hashes of contents that at least 20 rows and 1% of a keyed sample have: at most 100, ascending."""
    contents, counts = np.unique(content_hashes(sample), return_counts=True)
    common: UInt64 = contents[counts >= max(COMMON_ROWS, COMMON_SHARE * sample.num_rows)]
    return common


def sides_of(
    table: pa.Table, rows: Int64, common: UInt64, config: SplitConfig, hasher: Hasher | None = None
) -> Sides:
    """0 train, 1 validation, 2 holdout for each row (N,), whose numbers in the source are `rows`; `hasher`
    is that of all blocks of a source."""
    hasher = Hasher() if hasher is None else hasher
    if config.group is not None:
        column = table[config.group]
        keys = mix(hasher.words(column, table.column_names.index(config.group)), -1)
        valid = valid_rows(flat(column))
        # A row without a group stands for itself.
        keys = keys if valid.all() else np.where(valid, keys, hasher.contents(table))
    else:
        keys = hasher.contents(table)
        if len(common):
            keys = np.where(np.isin(keys, common), mix(rows.astype(np.uint64), -2), keys)
    # A number of 53 bits over 2**53, drawn for each row, is below a share where it is below that many.
    draws = mix(keys, config.seed) >> np.uint64(11)
    shares = (config.holdout, config.holdout + config.validation)
    is_holdout, is_kept_out = (draws < np.uint64(math.ceil(share * 2**53)) for share in shares)
    sides: Sides = is_holdout.view(np.int8) + is_kept_out.view(np.int8)
    return sides


def sides_of_table(table: pa.Table, config: SplitConfig) -> Sides:
    """The sides of a whole table (N,), as a stream of its rows has them."""
    rows = np.arange(table.num_rows)
    kept = rows
    if table.num_rows > SAMPLE_ROWS:
        kept = np.sort(np.argpartition(priorities(rows, config.seed), SAMPLE_ROWS - 1)[:SAMPLE_ROWS])
    sides = sides_of(table, rows, common_contents(table.take(pa.array(kept))), config)
    check_counts(np.bincount(sides, minlength=3).tolist())
    return sides


def check_counts(counts: list[int]) -> None:
    """DataError where the split of a few rows leaves none to train on."""
    if not counts[TRAIN]:
        raise DataError(
            "no row is left to train on: rows are divided by their content, and too few differ; give more, or"
            " set another data.split.seed",
            field="data.split",
        )
