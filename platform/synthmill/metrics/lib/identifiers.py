"""Which generated identifiers are real ones: counted over every row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from synthmill.metrics.lib.columns import MISSING, Bools, Column, Hashes, Ints, text_hashes, texts
from synthmill.metrics.lib.counts import CountFlagged, Flagged
from synthmill.metrics.lib.view import PartView


@dataclass(frozen=True)
class RealIdentifiers:
    """One column's values in train, validation and holdout; of one that repeats, in train and validation."""

    known: Hashes
    """Sorted, each once."""
    repeat: bool
    """Whether a value occurs in several rows, as a customer's number does in a table of orders."""
    reference: tuple[int, int] | None
    """Holdout values that train or validation have, and how many there are; None: no holdout."""


class CountIdentifiers(CountFlagged):
    """Flags every generated value that is a real one."""

    def __init__(self, known: Mapping[str, RealIdentifiers]) -> None:
        self.known = known

    def partial(self, view: PartView) -> Flagged:
        counts = Flagged({}, {})
        for name, column in self.known.items():
            codes, distinct = view.texts(name)
            # Each distinct value is hashed once, however many rows have it.
            uses = np.bincount(codes[codes != MISSING], minlength=len(distinct))
            counts.values[name] = int(uses.sum())
            counts.flagged[name] = int(uses[_are_in(column.known, text_hashes(distinct))].sum())
        return counts


def real_identifiers(
    columns: Sequence[Column], train: pa.Table, validation: pa.Table | None, holdout: pa.Table | None
) -> dict[str, RealIdentifiers]:
    """The identifiers of every column that has some."""
    out = {}
    for column in columns:
        if column.role != "identifier":
            continue
        seen = [_values(side[column.name]) for side in (train, validation) if side is not None]
        unseen = [_values(holdout[column.name])] if holdout is not None else []
        known = np.unique(np.concatenate([hashes for hashes, _ in (*seen, *unseen)]))
        repeat = len(known) < sum(int(uses.sum()) for _, uses in (*seen, *unseen))
        reference = None
        for hashes, uses in unseen:
            before = np.unique(np.concatenate([earlier for earlier, _ in seen]))
            reference = (int(uses[np.isin(hashes, before)].sum()), int(uses.sum()))
            # Synthetic and holdout rows are compared with the same real rows, or the first would know more.
            known = before if repeat else known
        out[column.name] = RealIdentifiers(known, repeat, reference)
    return out


def _are_in(known: Hashes, hashes: Hashes) -> Bools:
    """Which hashes are among the known ones, which are sorted. (`np.isin` would sort those again for each
    part.)"""
    if not len(known):
        return np.zeros(len(hashes), dtype=np.bool_)
    place = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    found: Bools = known[place] == hashes
    return found


def _values(column: pa.ChunkedArray) -> tuple[Hashes, Ints]:
    """Hashes of the distinct values, and in how many rows each occurs."""
    codes, distinct = texts(column)
    return text_hashes(distinct), np.bincount(codes[codes != MISSING], minlength=len(distinct))
