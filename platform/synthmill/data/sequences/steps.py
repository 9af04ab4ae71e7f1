"""Wide rows as codes: where in a row each part stands, and what the row after it begins with.

The code of a cell in the row before follows from the cell's own code, and one code more says that there is no
such row; so one row after the other follows without decoding. Numbers are coarser there: which of 128 bins a
number was in says little more than which of 16, and takes far more rows to learn. Legend: B sequences, S
spans, V codes of a span.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from synthmill.data.batch import Batch, Condition
from synthmill.data.layout import DiscreteSpan, MixedLayout
from synthmill.data.sequences.memory import FINENESS, Feature, Memory, features_of, within_room
from synthmill.data.sequences.plan import SequencePlan

COARSE = 16
"""Codes of ordered values in the rows before."""


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
    coarser: tuple[Tensor, ...]
    """For each of `moving` the code in a row before of each own code, int64 (V,)."""
    memory: Memory
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
        segments = {span.discrete: span.segments for span in own.numeric}
        coarser = {i: _coarser(spans[i], segments.get(i)) for i in moving}
        wide = [DiscreteSpan(column=plan.position, role="category", width=plan.positions)]
        figures: list[Feature] = []
        for i in moving if plan.remembers else ():
            ordered = _ordered(spans[i], segments.get(i))
            figures += features_of(spans[i].column, i, coarser[i], ordered, spans[i].missing)
        numbers: dict[str, int] = {}
        figures = within_room(figures)
        for figure in figures:
            numbers[figure.column] = number = numbers.get(figure.column, -1) + 1
            name = plan.so_far(number, figure.column)
            wide.append(DiscreteSpan(column=name, role="category", width=FINENESS + 1, ordered=True))
        before: dict[int, tuple[int, ...]] = {}
        for lag in range(plan.lags, 0, -1):
            before[lag] = tuple(range(len(wide), len(wide) + len(moving)))
            wide += [_lagged(spans[i], coarser[i], plan.before(lag, spans[i].column)) for i in moving]
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
            memory=Memory(
                [replace(figure, span=place[figure.span]) for figure in figures],
                tuple(range(1, 1 + len(figures))),
            ),
            before=tuple(before[lag] for lag in range(1, plan.lags + 1)),
            coarser=tuple(coarser[i] for i in moving),
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
        codes = {span: self.none_of(span) for spans in (*self.before, self.memory.places) for span in spans}
        if self.gap is not None:
            missing = self.layout.discrete[self.gap].missing
            assert missing is not None, "the first row of a sequence has no gap"
            codes[self.gap] = missing
        return Condition(codes={self.position: 0, **codes})

    @property
    def never(self) -> dict[int, int]:
        """The code that no row but the first has."""
        missing = None if self.gap is None else self.layout.discrete[self.gap].missing
        return {} if self.gap is None or missing is None else {self.gap: missing}

    @property
    def is_given(self) -> Tensor:
        """bool (S,): what is known of a row before it is drawn, but for the first."""
        given = torch.zeros(len(self.layout.discrete), dtype=torch.bool)
        before = [span for spans in self.before for span in spans]
        given[[self.position, *self.memory.places, *self.fixed, *before]] = True
        return given

    def begun(self, rows: Batch) -> Batch:
        """First rows of sequences, with what is to be remembered of them."""
        return rows.with_(memory=self.memory.own(rows["codes"]).to(rows["codes"].device))

    def remembered(self, rows: Batch, codes_BS: Tensor) -> Tensor:
        """What the rows after these, of those codes, and all before them come to, int64 (B, 2 F)."""
        return rows["memory"] + self.memory.own(codes_BS).to(rows["memory"].device)

    def after(self, rows: Batch, positions: Tensor) -> Tensor:
        """What is given of the rows after these, int64 (B, S), at `positions` int64 (B,) or ()."""
        codes_BS = rows["codes"]
        next_BS = torch.zeros_like(codes_BS)
        code = torch.from_numpy(np.atleast_1d(self.plan.code_of_position(positions.cpu().numpy())))
        next_BS[:, self.position] = code.to(codes_BS.device)
        next_BS[:, list(self.fixed)] = codes_BS[:, list(self.fixed)]
        if self.memory.places:
            so_far_BF = self.memory.codes(rows["memory"].cpu())
            next_BS[:, list(self.memory.places)] = so_far_BF.to(codes_BS.device)
        for span, own, coarser_V in zip(self.before[0], self.moving, self.coarser, strict=True):
            next_BS[:, span] = coarser_V.to(codes_BS.device)[codes_BS[:, own]]
        for spans, source in zip(self.before[1:], self.before, strict=False):
            next_BS[:, list(spans)] = codes_BS[:, list(source)]
        return next_BS

    def known_after(self, known_BS: Tensor) -> Tensor:
        """What is known of the rows after rows that were drawn from what is known, bool (B, S)."""
        next_BS = torch.ones_like(known_BS)
        # What was not known of the rows of a history is not known of what they come to.
        places = list(self.memory.places)
        next_BS[:, places] = known_BS[:, places]
        for spans, source in zip(self.before[1:], self.before, strict=False):
            next_BS[:, list(spans)] = known_BS[:, list(source)]
        return next_BS

    def own(self, batch: Batch) -> Batch:
        """The part of wide rows that their own columns are encoded as."""
        part = {"codes": batch["codes"][:, list(self.place)], "values": batch["values"]}
        return Batch(**part, **({"noise": batch["noise"]} if "noise" in batch else {}))

    def row_before(self, batch: Batch, lag: int) -> tuple[Batch, Tensor]:
        """The rows so many before as rows of own columns, with any fixed ones, and which there are (B,)."""
        codes_BS = batch["codes"].clone()
        there_B = batch["codes"][:, self.position] >= lag
        noise_B = batch["noise"] if "noise" in batch else torch.arange(batch.num_rows)
        for span, own, coarser_V in zip(self.before[lag - 1], self.moving, self.coarser, strict=True):
            # Any of the codes that are the same in a row before.
            many_C = torch.bincount(coarser_V, minlength=int(coarser_V.max()) + 1)
            first_C = many_C.cumsum(0) - many_C
            # A row that is drawn as a whole may say one thing in one column and another in the next.
            there_B = there_B & (batch["codes"][:, span] != self.none_of(span))
            code_B = torch.where(there_B, batch["codes"][:, span], 0)
            codes_BS[:, own] = first_C[code_B] + noise_B % many_C[code_B]
        values = 2 * torch.rand(batch["values"].shape, generator=torch.Generator().manual_seed(lag)) - 1
        return self.own(batch.with_(codes=codes_BS, values=values)), there_B


def _ordered(span: DiscreteSpan, segments: int | None) -> int:
    """How many codes are in order, from the first on."""
    # Of numbers without bins the points are in order, but for the code of a missing one at the end.
    return segments or (span.width - (span.missing is not None) if span.ordered else 0)


def _coarser(span: DiscreteSpan, segments: int | None) -> Tensor:
    """The code in a row before of each code, int64 (V,), ascending."""
    codes_V, ordered = torch.arange(span.width), _ordered(span, segments)
    if ordered <= 2 * COARSE:
        return codes_V
    return torch.where(codes_V < ordered, codes_V * COARSE // ordered, codes_V - ordered + COARSE)


def _lagged(span: DiscreteSpan, coarser_V: Tensor, name: str) -> DiscreteSpan:
    """With a code more, for no row."""
    missing = None if span.missing is None else int(coarser_V[span.missing])
    width = int(coarser_V.max()) + 2
    return span.model_copy(update={"column": name, "width": width, "missing": missing})
