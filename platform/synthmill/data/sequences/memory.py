"""What a sequence has been like so far, as codes: of ordered columns the mean over all rows before, of
columns of few levels the share of each.

The rows before that a row is given in full are few; what sets one sequence apart from another (a customer who
spends more, a patient who is worse) shows in all of them. Sums are of whole numbers, so a sequence that grows
has the same codes as one that is unrolled. Legend: B rows, F features, S spans, V codes of a span.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synthmill.data.columns import Int64

FINENESS = 16
"""Codes of a mean or share; one more says that there is none yet."""
MOST_LEVELS = 6
"""Of a column whose levels have a share each."""
MOST_FEATURES = 64
"""Of all columns; beyond it a table of many columns would be learnt from more figures than cells."""


@dataclass(frozen=True)
class Feature:
    """One mean or share."""

    column: str
    """The column that it is of."""
    span: int
    """Of all spans: where the column's own code stands."""
    value_V: Tensor
    """int64 (V,): what a code adds to the sum."""
    counts_V: Tensor
    """int64 (V,): 1, or 0 for a code that is left out: missing, or none of the ordered ones."""
    is_mean: bool
    """Of an ordered column; else it is the share of a level."""

    @property
    def most(self) -> int:
        return max(1, int(self.value_V.max()))


def features_of(
    column: str, span: int, coarser_V: Tensor, ordered: int, missing: int | None
) -> list[Feature]:
    """The features of a span whose codes are `coarser_V` (V,) in the rows before, the first `ordered` own
    codes of which are in order."""
    counts_V = torch.ones_like(coarser_V)
    if ordered > 2:
        counts_V[ordered:] = 0
        return [Feature(column, span, coarser_V * counts_V, counts_V, True)]
    if missing is not None:
        counts_V[missing] = 0
    if len(coarser_V) > MOST_LEVELS:
        return []
    levels = torch.arange(len(coarser_V))[counts_V.bool()]
    # The share of the last level follows from the others.
    return [
        Feature(column, span, (torch.arange(len(coarser_V)) == level).long(), counts_V, False)
        for level in levels[:-1]
    ]


def within_room(features: list[Feature]) -> list[Feature]:
    """As many features as may be: means before shares, and all shares of a column or none."""
    kept = [feature for feature in features if feature.is_mean][:MOST_FEATURES]
    for column in dict.fromkeys(feature.column for feature in features if not feature.is_mean):
        own = [feature for feature in features if feature.column == column and not feature.is_mean]
        kept += own if len(kept) + len(own) <= MOST_FEATURES else []
    return kept


class Memory:
    """All features of wide rows."""

    def __init__(self, features: list[Feature], places: tuple[int, ...]) -> None:
        self.features, self.places = features, places
        self.columns = tuple(feature.column for feature in features)

    def own(self, codes_BS: Tensor) -> Tensor:
        """What rows add themselves, int64 (B, 2 F): sums, then counts."""
        spans = [codes_BS[:, feature.span].cpu() for feature in self.features]
        sums = [f.value_V[codes] for f, codes in zip(self.features, spans, strict=True)]
        counts = [f.counts_V[codes] for f, codes in zip(self.features, spans, strict=True)]
        if not spans:
            return torch.zeros(len(codes_BS), 0, dtype=torch.int64)
        return torch.stack([*sums, *counts], dim=1)

    def codes(self, total_B2F: Tensor) -> Tensor:
        """The codes of such totals, int64 (B, F)."""
        many = len(self.features)
        sums_BF, counts_BF = total_B2F[:, :many], total_B2F[:, many:]
        most_F = torch.tensor([feature.most for feature in self.features], dtype=torch.int64)
        there_BF = counts_BF > 0
        bins_BF = sums_BF * FINENESS // (torch.where(there_BF, counts_BF, 1) * most_F)
        return torch.where(there_BF, bins_BF.clamp_max(FINENESS - 1), FINENESS)

    def totals(self, codes_NS: Tensor, position: Int64) -> Tensor:
        """Of the rows of whole sequences, one after the other: what all rows up to each come to, int64
        (N, 2 F)."""
        own = self.own(codes_NS).numpy()
        running = np.cumsum(own, axis=0)
        begins = np.flatnonzero(position == 0)
        before = (running - own)[begins]
        return torch.from_numpy(
            running - np.repeat(before, np.diff(np.append(begins, len(position))), axis=0)
        )
