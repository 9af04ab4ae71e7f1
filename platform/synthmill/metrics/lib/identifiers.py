"""Which generated identifiers are real ones: counted over every row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from synthmill.metrics.base import Mergeable
from synthmill.metrics.lib.columns import MISSING, Column, Hashes, Ints, text_hashes, texts
from synthmill.metrics.lib.view import PartView


@dataclass(frozen=True)
class RealIdentifiers:
    """One column's values in train, validation and holdout; of an identifier that repeats, those in train and
    validation, which holdout rows are held against too."""

    known: Hashes
    """Sorted, each once."""
    repeat: bool
    """Whether a value stands in several rows, as a customer's number does in a table of orders."""
    reference: tuple[int, int] | None
    """Holdout values that train or validation have, and how many there are; None: no holdout."""


@dataclass(frozen=True)
class IdentifierCounts:
    """Values that were generated, and those that are real ones, by column."""

    values: dict[str, int]
    real: dict[str, int]


class CountIdentifiers(Mergeable[IdentifierCounts, IdentifierCounts]):
    """Counts every value of a table; size: two numbers a column."""

    def __init__(self, known: Mapping[str, RealIdentifiers]) -> None:
        self.known = known

    def partial(self, view: PartView) -> IdentifierCounts:
        values: dict[str, int] = {}
        real: dict[str, int] = {}
        for name, column in self.known.items():
            codes, distinct = view.texts(name)
            uses = np.bincount(codes[codes != MISSING], minlength=len(distinct))
            values[name] = int(uses.sum())
            real[name] = int(uses[np.isin(text_hashes(distinct), column.known)].sum())
        return IdentifierCounts(values, real)

    def merge(self, left: IdentifierCounts, right: IdentifierCounts) -> IdentifierCounts:
        return IdentifierCounts(
            {name: left.values[name] + right.values[name] for name in left.values},
            {name: left.real[name] + right.real[name] for name in left.real},
        )

    def finish(self, state: IdentifierCounts) -> IdentifierCounts:
        return state


def real_identifiers(
    columns: Sequence[Column], train: pa.Table, validation: pa.Table | None, holdout: pa.Table | None
) -> dict[str, RealIdentifiers]:
    """The identifiers of every column that holds some."""
    out = {}
    for column in columns:
        if column.role != "identifier":
            continue
        seen = [_values(side[column.name]) for side in (train, validation) if side is not None]
        held = None if holdout is None else _values(holdout[column.name])
        hashes = np.concatenate([hashes for hashes, _ in [*seen, *([held] if held else [])]])
        rows = sum(int(uses.sum()) for _, uses in [*seen, *([held] if held else [])])
        known = np.unique(hashes)
        repeat, reference = len(known) < rows, None
        if held is not None:
            before = np.unique(np.concatenate([hashes for hashes, _ in seen]))
            reference = (int(held[1][np.isin(held[0], before)].sum()), int(held[1].sum()))
            # Synthetic and holdout rows are compared with the same real rows, or the first would know more.
            known = before if repeat else known
        out[column.name] = RealIdentifiers(known, repeat, reference)
    return out


def _values(column: pa.ChunkedArray) -> tuple[Hashes, Ints]:
    """Hashes of the distinct values, and in how many rows each stands."""
    codes, distinct = texts(column)
    return text_hashes(distinct), np.bincount(codes[codes != MISSING], minlength=len(distinct))
