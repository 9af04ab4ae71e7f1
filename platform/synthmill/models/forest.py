"""Trees column by column over codes (Reiter 2005, J. Official Statistics 21(3); bagged: Breiman 2001).

p(x) is the product of p(x_k | x_1 .. x_k-1), each factor a mixture of trees grown on half of the rows, whose
leaves hold counts of codes and never a row. There are three orders of the columns, each with trees of its
own: a condition on the columns that one of them begins with is met exactly and without rejecting a row. In
the first order the target comes last, drawn from boosted probabilities. Legend: B rows, S spans, O orders, T
trees a column, N numeric spans.
"""

from collections.abc import Collection, Iterable
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from synthmill.config import FrozenModel, tunable
from synthmill.data.batch import Batch, Condition, concat
from synthmill.data.layout import MixedLayout
from synthmill.models.base import GenerativeModel, Stage
from synthmill.nn.head import MOST_ROWS, head_of
from synthmill.nn.trees import Grower, Trees

MOST_TREE_ROWS = 20_000
"""A tree is grown on no more, so that time and size do not grow with the table; each tree has its own."""


class Forest(GenerativeModel):
    """Closed form: sequential bagged trees. Of a condition, the columns that one of its three orders begins
    with (the target; the first columns; the last ones) are met natively, the others by counted rejection."""

    class Config(FrozenModel):
        """How many trees, and how fine."""

        trees: int = tunable(10, choices=(5, 10, 20), ge=1)
        """Trees a column in the order that rows are drawn in."""
        other_trees: int = Field(4, ge=1)
        """Trees a column in each order that only conditions need."""
        least_rows: int = tunable(10, choices=(10, 20, 40), ge=5)
        """Rows that a leaf has at least; more copy less."""
        bag_share: float = Field(0.5, gt=0, le=1)
        """Share of the rows that a tree is grown on, drawn without replacement."""
        head: bool = True
        """Whether a categorical target of few classes is drawn from boosted probabilities."""

    modalities: ClassVar[tuple[str, ...]] = ("table",)
    reference: ClassVar[str] = "Reiter 2005, J. Official Statistics 21(3); head: arXiv 1706.09516, section 3"
    encoding = "discrete"
    conditions = "any"
    most_fitted_rows = MOST_ROWS
    config: Config
    roots: Tensor
    numeric_N: Tensor
    segments_N: Tensor

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        self.orders = orders_of(layout)
        """Span indices, as often as there are orders."""
        self.counts = [config.trees, *(config.other_trees for _ in self.orders[1:])]
        """Trees a column in each order."""
        spans = len(layout.discrete)
        self.register_buffer("roots", torch.zeros(sum(self.counts), spans, dtype=torch.int64))
        self.trees = Trees()
        self.head = head_of(layout) if config.head else None
        numeric = torch.tensor([span.discrete for span in layout.numeric], dtype=torch.int64)
        segments = torch.tensor([span.segments for span in layout.numeric], dtype=torch.int64)
        self.register_buffer("numeric_N", numeric, persistent=False)
        self.register_buffer("segments_N", segments, persistent=False)

    def stages(self) -> tuple[Stage, ...]:
        return ()

    def fit_closed(self, batches: Iterable[Batch]) -> None:
        data = concat(list(batches))
        codes_NS = data["codes"].cpu().numpy()
        rows, grower = len(codes_NS), Grower()
        take = max(1, min(MOST_TREE_ROWS, round(self.config.bag_share * rows)))
        for number, (order, trees) in enumerate(zip(self.orders, self.counts, strict=True)):
            for tree in range(trees):
                draws = np.random.default_rng((number, tree))
                picked_NS = codes_NS[np.sort(draws.choice(rows, take, replace=False))]
                for position, span in enumerate(order):
                    about = self.layout.discrete[span]
                    grower.add(
                        picked_NS,
                        order[:position],
                        span,
                        about.width,
                        ordered=about.ordered,
                        least=self.config.least_rows,
                        seed=int(draws.integers(2**31)),
                    )
        # By column, as they are looked up, not by place in their order.
        grown_TS = torch.tensor(grower.roots).view(-1, len(codes_NS[0]))
        order_of_T = [
            order for order, trees in zip(self.orders, self.counts, strict=True) for _ in range(trees)
        ]
        for roots_S, grown_S, order in zip(self.roots, grown_TS, order_of_T, strict=True):
            roots_S[torch.tensor(order)] = grown_S.to(roots_S.device)
        self.trees.take(grower)
        if self.head is not None:
            self.head.fit(codes_NS)

    def takes(self, spans: Collection[int]) -> frozenset[int]:
        """Those that the order with most of them begins with."""
        return frozenset(self._order_for(spans)[1])

    def _order_for(self, given: Collection[int]) -> tuple[int, list[int]]:
        """The order that begins with most of the given spans, the first of equals, and which these are."""
        prefixes = [
            order[: next((at for at, span in enumerate(order) if span not in given), len(order))]
            for order in self.orders
        ]
        best = max(range(len(prefixes)), key=lambda number: len(prefixes[number]))
        return best, prefixes[best]

    def sample(self, num_rows: int, *, condition: Condition | None, generator: torch.Generator) -> Batch:
        given = condition.codes if condition is not None else {}
        number, prefix = self._order_for(given)
        assert len(prefix) == len(given), "forest takes columns that an order begins with; see `takes`"
        order, device = self.orders[number], self.roots.device
        # Drawn where the generator is; looked up on the CPU, as `Trees` does.
        uniform_2SB = torch.rand(2, len(order), num_rows, generator=generator, device=device).cpu().numpy()
        place_BN = 2 * torch.rand(num_rows, len(self.numeric_N), generator=generator, device=device) - 1
        roots_TS = self.roots.cpu().numpy()
        drawn_BS = np.zeros((num_rows, len(order)), dtype=np.int64)
        for span in prefix:
            drawn_BS[:, span] = given[span]
        first, trees = sum(self.counts[:number]), self.counts[number]
        for span in order[len(prefix) :]:
            uniform_B, choice_B = uniform_2SB[:, span]
            if span == order[-1] and number == 0 and self.head is not None:
                known_BS, level_B = (torch.from_numpy(part).to(device) for part in (drawn_BS, uniform_B))
                drawn_B = self.head.draw(known_BS, level_B)
                drawn_BS[:, span] = drawn_B.cpu().numpy()
                continue
            tree_B = first + (choice_B * np.float32(trees)).astype(np.int64).clip(max=trees - 1)
            drawn_BS[:, span] = self.trees.draw(drawn_BS, roots_TS[tree_B, span], uniform_B)
        codes_BS = torch.from_numpy(drawn_BS).to(device)
        inside_BN = codes_BS.index_select(1, self.numeric_N) < self.segments_N
        return Batch(codes=codes_BS, values=place_BN * inside_BN)


def orders_of(layout: MixedLayout) -> list[list[int]]:
    """As in the table with the target last; with the target first; backwards with the target last. Of a table
    without a target the second begins in the middle."""
    columns = list(dict.fromkeys(span.column for span in layout.discrete))
    others = [name for name in columns if name != layout.target]
    target = [name for name in columns if name == layout.target]
    middle = len(others) // 2
    second = [*target, *others] if target else [*others[middle:], *others[:middle]]
    named = [[*others, *target], second, [*reversed(others), *target]]
    # The digits of a column stay together, the first one first.
    return [
        [index for name in names for index, span in enumerate(layout.discrete) if span.column == name]
        for names in named
    ]
