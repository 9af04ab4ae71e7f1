"""A head for the declared target: P(target | all other columns), boosted, fitted once on training rows and
drawn last. It keeps what predicts the target, which a model of all columns spreads over them. Legend: N rows
to fit, B rows, S spans, C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from synthmill.data.layout import MixedLayout
from synthmill.nn.boosted import Boosted, Codes, fit_boosted

ROUNDS, DEPTH, RATE = 150, 5, 0.15
MOST_CLASSES = 10
MOST_ROWS = 200_000


class TargetHead(Boosted):
    """Of one `category` span of few classes; `others` are the spans that it is told by, in that order."""

    def __init__(self, target: int, classes: int, others: Sequence[int]) -> None:
        super().__init__()
        self.target, self.classes, self.others = target, classes, list(others)

    def fit(self, codes_NS: Codes) -> None:
        """On rows of all spans, one of each stretch of equal length where there are more than `MOST_ROWS`."""
        some_NS = codes_NS[:: -(-len(codes_NS) // MOST_ROWS)]
        self.take(
            fit_boosted(
                some_NS[:, self.others],
                some_NS[:, self.target],
                self.classes,
                rounds=ROUNDS,
                depth=DEPTH,
                rate=RATE,
                seed=0,
            )
        )

    def logits(self, codes_BS: Tensor) -> Tensor:
        """Of rows of all spans, float32 (B, C)."""
        found_BC: Tensor = self(codes_BS[:, self.others])
        return found_BC

    def draw(self, codes_BS: Tensor, uniform_B: Tensor, never: int | None = None) -> Tensor:
        """A class for each row, int64 (B,), but the one that is `never` drawn."""
        logits_BC = self.logits(codes_BS)
        if never is not None:
            logits_BC[:, never] = -torch.inf
        cumulative_BC = logits_BC.softmax(1).cumsum(1)
        level_B1 = uniform_B[:, None] * cumulative_BC[:, -1:]
        drawn_B: Tensor = (cumulative_BC[:, :-1] <= level_B1).sum(1)
        return drawn_B


def head_of(layout: MixedLayout) -> TargetHead | None:
    """A head, not fitted yet, for a categorical target of two to `MOST_CLASSES` classes; None: the table has
    no such target, or no other column."""
    columns = list(dict.fromkeys(span.column for span in layout.discrete if span.column != layout.target))
    others = [index for name in columns for index, span in enumerate(layout.discrete) if span.column == name]
    targets = [index for index, span in enumerate(layout.discrete) if span.column == layout.target]
    if len(targets) != 1 or not others:
        return None
    span = layout.discrete[targets[0]]
    few = span.role == "category" and 2 <= span.width <= MOST_CLASSES
    return TargetHead(targets[0], span.width, others) if few else None
