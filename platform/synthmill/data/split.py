"""Train, validation and holdout, decided before anything is fitted.

Each distinct row (each group, when grouped) gets the index of its first occurrence; a keyed hash of that
index orders them, and the order is cut at the configured shares. Exact duplicates and groups therefore stay
on one side, shares are exact to the row where rows are distinct, and the same source and settings always give
the same split. Row ids are never recorded.

Rows so common that the side of one content would decide what the sides look like (20 rows and 1% of the
table; nobody's, then) are dealt out one by one, or a table of few categories would train on other
combinations than it is judged by. An image is its bytes: under two labels it is still one.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from synthmill.config import FrozenModel, SplitConfig
from synthmill.data.columns import UInt64, flat, is_integral, is_text, to_float64, to_int64, valid_rows
from synthmill.data.mixing import mix as mix
from synthmill.data.readers.base import Source
from synthmill.data.scan.sides import sides_of_table
from synthmill.errors import DataError, did_you_mean

COMMON_ROWS = 20
COMMON_SHARE = 0.01

Rule = Literal["ordered-first-row-hash", "ordered-first-row-hash/2", "content-hash/1"]


class Split(FrozenModel):
    """How a source was split: enough to do it again, nothing about single rows."""

    format: Literal["synthmill.split/1"] = "synthmill.split/1"
    rule: Rule = "ordered-first-row-hash/2"
    """Distinct rows or groups in order of splitmix64(seed, first index), cut at the shares; before /2 common
    rows stayed together and an image's label was part of what it is. content-hash/1, of sources that are
    scanned: each row by its own content or group, see `data.scan.sides`."""
    seed: int
    group: str | None
    keys: tuple[str, ...] | None = Field(None, exclude_if=lambda keys: keys is None)
    """Of sequences that several columns together tell apart: what `group` is where it is one column."""
    validation: float
    holdout: float
    counts: dict[str, int]
    """Rows in `train`, `validation`, `holdout`."""
    source_sha256: str


@dataclass(frozen=True)
class SplitTables:
    """The three parts of a source, rows in source order."""

    train: pa.Table
    validation: pa.Table
    holdout: pa.Table
    split: Split

    @property
    def selection(self) -> pa.Table:
        """What to select on: validation, or train where the table is too small to have one."""
        return self.validation if self.validation.num_rows else self.train


def split_table(
    table: pa.Table,
    config: SplitConfig,
    *,
    sha256: str,
    rule: Rule = "ordered-first-row-hash/2",
    keys: tuple[str, ...] = (),
) -> SplitTables:
    """Split the source whose SHA-256 is given; train is never empty. `rule` is that of the model whose split
    is opened again; rows of equal `keys` stay on one side, where `config.group` is None.

    Raises:
        DataError: shares that leave nothing to train on, or an unknown group column.
    """
    check_split(config, table.column_names)
    scanned = rule == "content-hash/1"
    groups = keys if config.group is None else (config.group,)
    side = sides_of_table(table, config) if scanned else sides_of_keys(_keys(table, groups, rule), config)
    train, validation, holdout = (table.filter(pa.array(side == value)) for value in range(3))
    counts = {"train": train.num_rows, "validation": validation.num_rows, "holdout": holdout.num_rows}
    shares = {"validation": config.validation, "holdout": config.holdout}
    split = Split(
        rule=rule,
        seed=config.seed,
        group=config.group,
        keys=keys or None,
        counts=counts,
        source_sha256=sha256,
        **shares,
    )
    return SplitTables(train, validation, holdout, split)


def check_split(config: SplitConfig, names: Sequence[str]) -> None:
    """DataError for shares that leave nothing to train on, or a group that is no column."""
    if config.validation + config.holdout >= 1:
        raise DataError(
            "validation and holdout leave no rows to train on; their sum must be below 1", field="data.split"
        )
    if config.group is not None and config.group not in names:
        raise DataError(
            f"no column named {config.group!r}{did_you_mean(config.group, names)}", field="data.split.group"
        )


def open_split(source: Source, split: Split) -> SplitTables:
    """Split the source again as recorded.

    Raises:
        DataError: the source's bytes are not those that were split.
    """
    check_same_source(source.uri, source.sha256, split)
    config = SplitConfig(
        validation=split.validation, holdout=split.holdout, seed=split.seed, group=split.group
    )
    keys = split.keys or ()
    tables = split_table(source.table, config, sha256=source.sha256, rule=split.rule, keys=keys)
    check_same_counts(source.uri, tables.split.counts, split)
    return tables


def check_same_source(uri: str, sha256: str, split: Split) -> None:
    """DataError for bytes other than those that were split."""
    if sha256 != split.source_sha256:
        raise DataError(
            f"{uri} has changed since the model was trained (SHA-256 {sha256[:12]}, was"
            f" {split.source_sha256[:12]}); restore it or train again",
            field="data.source",
        )


def check_same_counts(uri: str, counts: dict[str, int], split: Split) -> None:
    """DataError where the same bytes do not divide as they did."""
    if counts != split.counts:
        raise DataError(
            f"{uri} splits into {counts} rows, and did into {split.counts} when the model"
            " was trained; restore its schema file, or train again",
            field="data.source",
        )


def row_hashes(table: pa.Table) -> UInt64:
    """A 64-bit hash of each row's content, the same in every version and process, (N,)."""
    total = np.zeros(table.num_rows, dtype=np.uint64)
    for position, column in enumerate(table.columns):
        total = mix(total ^ _cell_hashes(flat(column)), position)
    return total


def _keys(table: pa.Table, groups: tuple[str, ...], rule: Rule) -> UInt64:
    """What must stay together: rows' content, or groups; a row without a group stands for itself."""
    images = [field.name for field in table.schema if pa.types.is_struct(field.type)]
    newest = rule == "ordered-first-row-hash/2"
    content = row_hashes(table.select(images) if images and newest else table)
    if not groups:
        return content if images or not newest else _common_apart(content)
    column = flat(table[groups[0]])
    keys = mix(_cell_hashes(column), -1)
    for name in groups[1:]:
        keys = mix(keys ^ _cell_hashes(flat(table[name])), -1)
    return np.where(valid_rows(column), keys, content)


def _common_apart(content: UInt64) -> UInt64:
    """The hashes, those of common rows replaced by one of their own for each row, (N,)."""
    _, inverse, sizes = np.unique(content, return_inverse=True, return_counts=True)
    common = sizes[inverse.reshape(-1)] >= max(COMMON_ROWS, COMMON_SHARE * len(content))
    return np.where(common, mix(np.arange(len(content), dtype=np.uint64), -2), content)


def _cell_hashes(array: pa.Array) -> UInt64:
    if pa.types.is_struct(array.type):
        # An image is its bytes; what its file was called does not make it another one.
        array = array.field("bytes")
    if pa.types.is_binary(array.type):
        cells = np.array(
            [
                int.from_bytes(hashlib.blake2b(cell or b"", digest_size=8).digest(), "little")
                for cell in array.to_pylist()
            ],
            np.uint64,
        )
    elif is_text(array.type):
        coded = array.dictionary_encode()
        texts = coded.dictionary.to_pylist()
        hashes = np.array(
            [int.from_bytes(hashlib.blake2b(t.encode(), digest_size=8).digest(), "little") for t in texts]
            or [0],
            np.uint64,
        )
        cells = hashes[coded.indices.fill_null(0).to_numpy(zero_copy_only=False)]
    elif pa.types.is_uint64(array.type):
        cells = array.fill_null(0).to_numpy(zero_copy_only=False)
    elif is_integral(array.type):
        cells = to_int64(array).view(np.uint64)
    else:
        cells = (to_float64(array) + 0.0).view(np.uint64)
    return np.where(valid_rows(array), mix(cells, 1), np.uint64(0x6E756C6C))


def sides_of_keys(keys: UInt64, config: SplitConfig) -> npt.NDArray[np.int8]:
    """0 train, 1 validation, 2 holdout for each row, (N,); rows of equal keys stay together."""
    _, first, inverse, sizes = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(mix(first.astype(np.uint64), config.seed), kind="stable")
    rows = len(keys)
    middle = np.cumsum(sizes[order]) - sizes[order] / 2
    holdout_rows = round(config.holdout * rows)
    validation_rows = round(config.validation * rows)
    side = np.where(middle < holdout_rows, 2, np.where(middle < holdout_rows + validation_rows, 1, 0)).astype(
        np.int8
    )
    if not (side == 0).any():
        side[-1] = 0
    sides = np.empty(len(first), dtype=np.int8)
    sides[order] = side
    return sides[inverse.reshape(-1)]
