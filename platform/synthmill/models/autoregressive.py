"""Any-order autoregression over codes: p(x) = prod_k p(x_o(k) | x_o(1) .. x_o(k-1)) for any order o (arXiv
1310.1757, equation 4; trained as in arXiv 2110.02037, equation 4, with all columns of one order at once).

Codes are embedded and summed in the order of the batch; the sum of those before a column is all that its own
small network sees. So one pass gives every conditional, and any columns can be given and the others drawn.
With a head, a target that nothing is said about is drawn last, from boosted probabilities given all other
columns: rows then come from p(others) h(target | others). What is asked about a target that is given, or
together with columns that are not, is answered by the network's own p(x). Numbers inside a bin are uniform.
Legend: B rows, S spans, F codes of all spans, H embedding, M width of a column's network, G spans of a group
of like cardinality, V codes of its widest, N numeric spans.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from synthmill.config import FrozenModel, tunable
from synthmill.data.batch import Allowed, Batch, Condition
from synthmill.data.layout import MixedLayout
from synthmill.models.base import Adam, GenerativeModel, Phase, Rng, Stage, batch_of_table
from synthmill.nn.head import MOST_ROWS, head_of

MOST_PADDING = 0.25
MOST_MULTIPLIED = 100
"""Spans up to which a product with a matrix of zeros and ones sums embeddings in less time than sums one
after the other, which more spans need: their cost does not grow with the square."""
PADDING = -1e9
OUTER_SCALE = 0.02
"""Of the first logits: next to none, but not zero, or the layers below would have no gradient at first."""
FULL_ROWS, FEW_ROWS = 20_000, 625
"""A table of fewer rows than the first is read more often, by the root of how many fewer, but not by more
than the root of how many more than the second it has: the fewer there are, the sooner they are learnt by
heart."""


class _Columns(nn.Module):
    """For each span two layers of its own, H -> M -> its codes, as batched matrix products."""

    def __init__(self, widths: Sequence[int], hidden: int, width: int, dropout: float) -> None:
        super().__init__()
        self.places = sorted(range(len(widths)), key=lambda span: -widths[span])
        """Spans by falling cardinality: spans of a group are neighbours."""
        self.groups: list[list[int]] = []
        for span in self.places:
            if self.groups and widths[span] >= (1 - MOST_PADDING) * widths[self.groups[-1][0]]:
                self.groups[-1].append(span)
            else:
                self.groups.append([span])
        self.at = {span: (i, j) for i, group in enumerate(self.groups) for j, span in enumerate(group)}
        self.widths = tuple(widths)
        spans = len(widths)
        self.inner = nn.Parameter(torch.randn(spans, hidden, width) * (2 / hidden) ** 0.5)
        self.inner_bias = nn.Parameter(torch.zeros(spans, 1, width))
        self.dropout = nn.Dropout(dropout)
        sizes = [(len(group), widths[group[0]]) for group in self.groups]
        self.outer = nn.ParameterList(
            torch.randn(count, width, codes) * OUTER_SCALE for count, codes in sizes
        )
        self.bias = nn.ParameterList(torch.zeros(count, 1, codes) for count, codes in sizes)
        self.start_at([torch.ones(codes) for codes in widths])

    @torch.no_grad()
    def start_at(self, shares: Sequence[Tensor]) -> None:
        """Begin with the columns' own frequencies; `shares` (codes,) of each span."""
        for span, share in enumerate(shares):
            group, place = self.at[span]
            # Padding is never chosen, and its gradient vanishes with its probability.
            self.bias[group][place].fill_(PADDING)
            self.bias[group][place, 0, : self.widths[span]] = share.log()

    def nats(self, sums_SBH: Tensor, codes_BS: Tensor) -> Tensor:
        """-log p(code | the sum before it) of each span, float32 (S, B); spans as in `places`."""
        inner_SBM = torch.baddbmm(self.inner_bias, sums_SBH, self.inner)
        # A row leaves out the same units in all columns: drawing for each took a fifth of a step.
        kept_BM = self.dropout(torch.ones_like(inner_SBM[0]))
        inner_SBM = functional.relu(inner_SBM) * kept_BM if self.training else functional.relu(inner_SBM)
        found = []
        parts = torch.split(inner_SBM, [len(group) for group in self.groups])
        for group, part_GBM, weight_GMV, bias_G1V in zip(
            self.groups, parts, self.outer, self.bias, strict=True
        ):
            logits_GBV = torch.baddbmm(bias_G1V, part_GBM, weight_GMV).float()
            codes_GB = codes_BS[:, group].T
            nats = functional.cross_entropy(logits_GBV.flatten(0, 1), codes_GB.flatten(), reduction="none")
            found.append(nats.view(len(group), -1))
        return torch.cat(found)

    def logits(self, span: int, sum_BH: Tensor) -> Tensor:
        """Of one span, float32 (B, its codes)."""
        group, place = self.at[span]
        index = self.places.index(span)
        inner_BM = torch.addmm(self.inner_bias[index], sum_BH, self.inner[index]).relu_()
        width = self.widths[span]
        weight_MV, bias_V = self.outer[group][place, :, :width], self.bias[group][place, 0, :width]
        return torch.addmm(bias_V, inner_BM, weight_MV).float()


def _is_off(value: object) -> bool:
    """Left out of what is saved: recipes from before the head must keep their fingerprints."""
    return value is False


class Autoregressive(GenerativeModel):
    """Any columns given, the others drawn: one network for all conditionals. Equalities on any columns are
    met natively, and so are all comparisons (<, <=, >, >=, =, !=) of one column more; further ones by
    counted rejection."""

    class Config(FrozenModel):
        """Sizes and steps."""

        embedding_dim: int = tunable(128, choices=(64, 128, 256), ge=1)
        """Width of the embeddings and of their sum."""
        hidden_dim: int = tunable(128, choices=(64, 128, 256), ge=1)
        """Width of each column's network."""
        dropout: float = tunable(0.1, low=0.0, high=0.3, ge=0, lt=1)
        """Share of a column network's units that a step leaves out."""
        learning_rate: float = tunable(3e-3, low=5e-4, high=1e-2, log=True, gt=0)
        """Adam's step size at the start; it falls to 0 along a cosine."""
        weight_decay: float = tunable(1e-3, low=1e-5, high=1e-1, log=True, ge=0)
        """Decoupled weight decay."""
        epochs: int = tunable(15, low=5, high=40, ge=1)
        """Passes over 20,000 rows or more, if `training.max_epochs` does not end it sooner; tables of 625 to
        20,000 rows are read up to 2.4 times as often. More learn rows by heart."""
        table_order_share: float = Field(0.5, ge=0, le=1)
        """Share of the batches whose order is the table's, in which rows are drawn; others are random."""
        head: bool = Field(False, exclude_if=_is_off)
        """Whether a categorical target of 2 to 10 classes is drawn last, from boosted probabilities of it
        given all other columns; where a condition is about the target, the network draws all."""

    modalities: ClassVar[tuple[str, ...]] = ("table",)
    reference: ClassVar[str] = "arXiv 2110.02037, equation 4, over arXiv 1310.1757"
    encoding = "discrete"
    conditions = "any"
    completes = True
    takes_ranges = True
    config: Config
    offsets_S: Tensor
    numeric_N: Tensor
    segments_N: Tensor

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        widths = torch.tensor([span.width for span in layout.discrete], dtype=torch.int64)
        hidden = config.embedding_dim
        self.embeddings = nn.Parameter(torch.randn(int(widths.sum()), hidden) * hidden**-0.5)
        self.start = nn.Parameter(torch.zeros(hidden))
        self.columns = _Columns(widths.tolist(), hidden, config.hidden_dim, config.dropout)
        self.head = head_of(layout) if config.head else None
        self.register_buffer("offsets_S", widths.cumsum(0) - widths, persistent=False)
        numeric = torch.tensor([span.discrete for span in layout.numeric], dtype=torch.int64)
        segments = torch.tensor([span.segments for span in layout.numeric], dtype=torch.int64)
        self.register_buffer("numeric_N", numeric, persistent=False)
        self.register_buffer("segments_N", segments, persistent=False)

    def stages(self) -> tuple[Stage, ...]:
        optimizer = Adam(
            learning_rate=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            schedule="cosine",
            clip_norm=10.0,
        )
        modules = ("embeddings", "start", "columns")
        phase = Phase(name="nats", modules=modules, optimizer=optimizer, reads_progress=True)
        epochs = passes_of(self.config, self.layout.rows)
        batch_rows = batch_of_table(self.layout.rows)
        stage = Stage(
            name="any-order", share=1.0, phases=(phase,), most_epochs=epochs, most_batch_rows=batch_rows
        )
        return (stage,)

    def begin(self, batches: Iterable[Batch]) -> None:
        """Biases begin at the columns' frequencies, which 3e-3 a step would take thousands of steps to
        reach."""
        counts = [torch.zeros(span.width, dtype=torch.int64) for span in self.layout.discrete]
        every, seen, some = max(1, -(-self.layout.rows // MOST_ROWS)), 0, []
        for batch in batches:
            if self.head is not None:
                # Of rows that lie on disk one of each stretch of equal length.
                some.append(batch["codes"][-seen % every :: every].cpu())
                seen += batch.num_rows
            for column, count in zip(batch["codes"].T, counts, strict=True):
                count += torch.bincount(column, minlength=len(count)).cpu()
        # Half a row of each code: one that no row has is improbable, not impossible.
        smoothed = [count.float() + 0.5 for count in counts]
        self.columns.start_at([count / count.sum() for count in smoothed])
        if self.head is not None:
            # The rows alone decide it, not the weights: once, and the same on every rank.
            self.head.fit(torch.cat(some).numpy())

    def loss(self, phase: str, batch: Batch, *, rng: Rng, progress: float) -> dict[str, Tensor]:
        # One order for all rows and ranks: rows of a rank are drawn by its own share of the noise, but the
        # progress is the same everywhere.
        draws = torch.Generator().manual_seed(int(progress * 2**40))
        order_S = torch.arange(len(self.layout.discrete))
        if float(torch.rand(1, generator=draws)) >= self.config.table_order_share:
            order_S = torch.randperm(len(order_S), generator=draws)
        return {"codes": self._nats(batch["codes"], order_S).sum(0)}

    def _nats(self, codes_BS: Tensor, order_S: Tensor) -> Tensor:
        """-log p of each code given those before it in the order, float32 (S, B); spans as in `places`."""
        order_S = order_S.to(codes_BS.device)
        rank_S = order_S.argsort()
        places_S = torch.tensor(self.columns.places, device=codes_BS.device)
        flat_SB = (codes_BS + self.offsets_S).T
        if len(order_S) <= MOST_MULTIPLIED:
            own_SBH = functional.embedding(flat_SB, self.embeddings)
            before_SS = (rank_S < rank_S[places_S, None]).to(own_SBH.dtype)
            sums_SBH = (before_SS @ own_SBH.flatten(1)).view_as(own_SBH) + self.start
        else:
            own_SBH = functional.embedding(flat_SB[order_S], self.embeddings)
            sums_SBH = torch.cat([self.start.expand(1, len(codes_BS), -1), own_SBH[:-1]]).cumsum(0)
            sums_SBH = sums_SBH.index_select(0, rank_S[places_S])
        return self.columns.nats(sums_SBH, codes_BS)

    def log_prob(self, batch: Batch, order: Sequence[int] | None = None) -> Tensor:
        """Along an order of the spans, None: the table's; with a head the target comes last in any order, and
        has the head's probability, as when rows are drawn."""
        codes_BS = batch["codes"]
        order_S = torch.arange(codes_BS.shape[1]) if order is None else torch.tensor(order)
        if self.head is None:
            return -self._nats(codes_BS, order_S).sum(0)
        target = self.head.target
        order_S = torch.cat([order_S[order_S != target], torch.tensor([target])])
        nats_SB = self._nats(codes_BS, order_S)
        nats_SB[self.columns.places.index(target)] = functional.cross_entropy(
            self.head.logits(codes_BS), codes_BS[:, target], reduction="none"
        )
        return -nats_SB.sum(0)

    def nats(self, batch: Batch) -> Tensor:
        # Of the network alone: it is its weights that checks choose.
        order_S = torch.arange(len(self.layout.discrete))
        return self._nats(batch["codes"], order_S).sum(0) / max(1, len(order_S))

    def probabilities(self, span: int, batch: Batch, given_BS: Tensor) -> Tensor:
        codes_BS = batch["codes"]
        others_S = torch.arange(given_BS.shape[1], device=given_BS.device) != span
        logits_BV = self.columns.logits(span, self._sum_of(codes_BS, given_BS & others_S))
        if self.head is not None and span == self.head.target:
            # As rows are drawn; where a cell is missing the network knows what goes with the others.
            is_whole_B1 = (given_BS | ~others_S).all(1, keepdim=True)
            logits_BV = torch.where(is_whole_B1, self.head.logits(codes_BS), logits_BV)
        return logits_BV.softmax(1)

    def _sum_of(self, codes_BS: Tensor, given_BS: Tensor) -> Tensor:
        sum_BH = self.start.expand(len(codes_BS), -1).clone()
        for span in given_BS.any(0).nonzero()[:, 0].tolist():
            own_BH = self.embeddings[codes_BS[:, span] + self.offsets_S[span]]
            sum_BH += own_BH * given_BS[:, span, None]
        return sum_BH

    def sample(self, num_rows: int, *, condition: Condition | None, generator: torch.Generator) -> Batch:
        condition = condition or Condition()
        device, spans = self.embeddings.device, len(self.layout.discrete)
        codes_BS = torch.zeros(num_rows, spans, dtype=torch.int64, device=device)
        given_BS = torch.zeros(num_rows, spans, dtype=torch.bool, device=device)
        for span, code in condition.codes.items():
            codes_BS[:, span], given_BS[:, span] = code, True
        return self.complete(codes_BS, given_BS, allowed=condition.allowed, generator=generator)

    def complete(
        self,
        codes_BS: Tensor,
        given_BS: Tensor,
        *,
        allowed: Mapping[int, Allowed] | None = None,
        never: Mapping[int, int] | None = None,
        generator: torch.Generator,
    ) -> Batch:
        """`allowed` limits codes and places of a span. Exact for one such span, which is drawn first; where
        there are more, each is limited given those before it. The head draws the target where it is neither
        given nor limited."""
        allowed, never, device = dict(allowed or {}), never or {}, codes_BS.device
        codes_BS, sum_BH = codes_BS.clone(), self._sum_of(codes_BS, given_BS)
        rows, spans = codes_BS.shape
        # One number a cell and one a place, whatever is given: a row's cells depend on no other row.
        uniform_SB = torch.rand(spans, rows, generator=generator, device=device)
        place_BN = torch.rand(rows, len(self.numeric_N), generator=generator, device=device)
        some_S, all_S = given_BS.any(0).tolist(), given_BS.all(0).tolist()
        head = self.head if self.head is not None and self.head.target not in allowed else None
        last = range(spans) if head is None else [*head.others, head.target]
        for span in [*allowed, *(span for span in last if span not in allowed)]:
            if all_S[span]:
                continue
            if head is not None and span == head.target:
                drawn_B = head.draw(codes_BS, uniform_SB[span], never.get(span))
                codes_BS[:, span] = torch.where(given_BS[:, span], codes_BS[:, span], drawn_B)
                continue
            weight_V = allowed[span].weight.to(device) if span in allowed else None
            logits_BV = self.columns.logits(span, sum_BH)
            if span in never and logits_BV.shape[1] > 1:
                logits_BV[:, never[span]] = -torch.inf
            drawn_B = _draw(logits_BV, uniform_SB[span], weight_V)
            own_BH = self.embeddings.index_select(0, drawn_B + self.offsets_S[span])
            if some_S[span]:
                is_given_B = given_BS[:, span]
                drawn_B = torch.where(is_given_B, codes_BS[:, span], drawn_B)
                # What is given is in the sum already.
                own_BH *= ~is_given_B[:, None]
            codes_BS[:, span] = drawn_B
            sum_BH += own_BH
        values_BN = 2 * place_BN - 1
        for number, span in enumerate(self.numeric_N.tolist()):
            if span in allowed:
                low_V, high_V = allowed[span].low.to(device), allowed[span].high.to(device)
                low_B, high_B = low_V[codes_BS[:, span]], high_V[codes_BS[:, span]]
                place_B = low_B + place_BN[:, number] * (high_B - low_B)
                # Rounding must not lead out of the bounds.
                values_BN[:, number] = torch.minimum(torch.maximum(place_B, low_B), high_B)
        inside_BN = codes_BS.index_select(1, self.numeric_N) < self.segments_N
        return Batch(codes=codes_BS, values=values_BN * inside_BN)


def passes_of(config: "Autoregressive.Config", rows: int) -> int:
    """How often training reads a table of so many rows."""
    repeated: float = min(FULL_ROWS / max(1, rows), rows / FEW_ROWS) ** 0.5
    return round(config.epochs * max(1.0, repeated))


def operations_of(config: "Autoregressive.Config", layout: MixedLayout) -> float:
    """Floating-point operations of a row's forward pass."""
    widths = sum(span.width for span in layout.discrete)
    inner = config.embedding_dim * len(layout.discrete) + widths
    return 2.0 * config.hidden_dim * inner


def _draw(logits_BV: Tensor, uniform_B: Tensor, weight_V: Tensor | None) -> Tensor:
    """A code for each row by inversion of its cumulative distribution, int64 (B,); overwrites the logits."""
    if weight_V is None:
        share_BV = logits_BV.sub_(logits_BV.amax(1, keepdim=True)).exp_()
    else:
        # In double: what is allowed may be less than a float tells from nothing.
        share_BV = logits_BV.double().softmax(1) * weight_V
    cumulative_BV = share_BV.cumsum_(1)
    level_B1 = uniform_B[:, None] * cumulative_BV[:, -1:]
    codes_B = (cumulative_BV[:, :-1] <= level_B1).sum(1)
    # The last code has no upper limit to be below: rounding must not choose one that has no share.
    if weight_V is not None:
        codes_B = codes_B.clamp_max(int(weight_V.nonzero()[-1, 0]))
    return codes_B
