"""Wide rows as codes: where in a row each part stands, and what the row after it begins with.

The code of a cell in the row before is the cell's own code, and one code more says that there is no such row;
so one row after the other follows without decoding. Legend: B sequences, S spans, N numeric spans.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synthmill.data.batch import Batch, Condition
from synthmill.data.layout import DiscreteSpan, MixedLayout
from synthmill.data.sequences.plan import SequencePlan


@dataclass(frozen=True)
class Steps:
    """Spans of wide rows by their part."""

    plan: SequencePlan
    layout: MixedLayout
    """Of wide rows."""
    place: tuple[int, ...]
    """Where each span of a row's own columns stands among all."""
    position: int
    fixed: tuple[int, ...]
    moving: tuple[int, ...]
    before: tuple[tuple[int, ...], ...]
    """Of the row one before, two before, ...: a span for each of `moving`."""
    gap: int | None
    last: int
    last_code: int
    """Of `last` for a row that is the last."""

    @classmethod
    def of(cls, plan: SequencePlan, own: MixedLayout, last_code: int) -> "Steps":
        """Of wide rows whose own columns are encoded as `own` says."""
        spans = own.discrete
        fixed = [i for i, span in enumerate(spans) if span.column in plan.fixed]
        moving = [i for i, span in enumerate(spans) if span.column in plan.moving]
        last = next(i for i, span in enumerate(spans) if span.column == plan.last)
        # In the order in which they are drawn: what comes before a row, what its sequence is, the row itself.
        wide = [DiscreteSpan(column=plan.position, role="category", width=plan.positions)]
        before: dict[int, tuple[int, ...]] = {}
        for lag in range(plan.lags, 0, -1):
            before[lag] = tuple(range(len(wide), len(wide) + len(moving)))
            wide += [_lagged(spans[i], plan.before(lag, spans[i].column)) for i in moving]
        place = {i: len(wide) + n for n, i in enumerate([*fixed, *moving, last])}
        wide += [spans[i] for i in place]
        numeric = tuple(span.model_copy(update={"discrete": place[span.discrete]}) for span in own.numeric)
        gap = next((place[i] for i in moving if plan.order and spans[i].column == plan.gap), None)
        return cls(
            plan=plan,
            layout=own.model_copy(update={"discrete": tuple(wide), "numeric": numeric}),
            place=tuple(place[i] for i in range(len(spans))),
            position=0,
            fixed=tuple(place[i] for i in fixed),
            moving=tuple(place[i] for i in moving),
            before=tuple(before[lag] for lag in range(1, plan.lags + 1)),
            gap=gap,
            last=place[last],
            last_code=last_code,
        )

    @property
    def other_code(self) -> int:
        """Of `last` for a row that another one follows."""
        return 1 - self.last_code

    @property
    def fixed_values(self) -> list[int]:
        """Numbers that are equal in the whole sequence."""
        return [n for n, span in enumerate(self.layout.numeric) if span.discrete in self.fixed]

    def none_of(self, span: int) -> int:
        """The code of a span of `before` that says that there is no such row."""
        return self.layout.discrete[span].width - 1

    @property
    def first(self) -> Condition:
        """What the first row of every sequence has."""
        codes = {span: self.none_of(span) for spans in self.before for span in spans}
        if self.gap is not None:
            missing = self.layout.discrete[self.gap].missing
            assert missing is not None, "the first row of a sequence has no gap"
            codes[self.gap] = missing
        return Condition(codes={self.position: 0, **codes})

    @property
    def is_given(self) -> Tensor:
        """bool (S,): what is known of a row before it is drawn, but for the first."""
        given = torch.zeros(len(self.layout.discrete), dtype=torch.bool)
        given[[self.position, *self.fixed, *(span for spans in self.before for span in spans)]] = True
        return given

    def after(self, codes_BS: Tensor, positions: Tensor) -> Tensor:
        """What is given of the rows after these, int64 (B, S); `positions` int64 (B,) or () are theirs."""
        next_BS = torch.zeros_like(codes_BS)
        code = torch.from_numpy(np.atleast_1d(self.plan.code_of_position(positions.cpu().numpy())))
        next_BS[:, self.position] = code.to(codes_BS.device)
        next_BS[:, list(self.fixed)] = codes_BS[:, list(self.fixed)]
        for spans, source in zip(self.before, (self.moving, *self.before), strict=False):
            next_BS[:, list(spans)] = codes_BS[:, list(source)]
        return next_BS

    def own(self, batch: Batch) -> Batch:
        """The part of wide rows that their own columns are encoded as."""
        part = {"codes": batch["codes"][:, list(self.place)], "values": batch["values"]}
        return Batch(**part, **({"noise": batch["noise"]} if "noise" in batch else {}))

    def row_before(self, batch: Batch, lag: int) -> tuple[Batch, Tensor]:
        """The rows so many before as rows of own columns, with any fixed ones, and which there are (B,)."""
        codes_BS, spans = batch["codes"].clone(), list(self.before[lag - 1])
        there_B = batch["codes"][:, self.position] >= lag
        codes_BS[:, list(self.moving)] = torch.where(there_B[:, None], codes_BS[:, spans], 0)
        return self.own(batch.with_(codes=codes_BS, values=torch.zeros_like(batch["values"]))), there_B


def _lagged(span: DiscreteSpan, name: str) -> DiscreteSpan:
    return span.model_copy(update={"column": name, "width": span.width + 1})
