"""Many small categorical outputs in one tensor, without a loop over them: codes, softmax, loss, sampling.

A row of S codes is D columns. Spans are sorted by width and grouped into a few blocks of equal width, each
padded by at most a third, so that every operation below is one call a block on a (B, spans, width) view.
Legend: B rows, S spans, D columns, W widest.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from synthmill.nn.blocks import compute_dtype

PADDING_LOGIT = -1e9  # Not minus infinity, which makes NaN of a difference; exp of it is 0 all the same.
MOST_PADDING = 0.25


class Spans(nn.Module):
    """Where each span's codes are in the D columns: constants only, nothing in `state_dict`."""

    offsets_S: Tensor
    inverse_S: Tensor
    widths_S: Tensor
    padding_D: Tensor

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        order = sorted(range(len(widths)), key=lambda span: -widths[span])
        offsets = [0] * len(widths)
        columns: list[Tensor] = []
        self.blocks: list[tuple[int, int]] = []
        """(spans, width) of each block, in the order of the columns."""
        self.padded: list[bool] = []
        """Whether a block has padding."""
        start = 0
        for group in _groups(order, widths):
            width = widths[group[0]]
            self.blocks.append((len(group), width))
            self.padded.append(widths[group[-1]] < width)
            for position, span in enumerate(group):
                offsets[span] = start + position * width
                columns.append(torch.arange(width) >= widths[span])
            start += len(group) * width
        self.width = start
        """D, padding included."""
        inverse = torch.empty(len(widths), dtype=torch.int64)
        inverse[torch.tensor(order, dtype=torch.int64)] = torch.arange(len(widths))
        padding = torch.cat(columns) if columns else torch.zeros(0, dtype=torch.bool)
        self.register_buffer("offsets_S", torch.tensor(offsets, dtype=torch.int64), persistent=False)
        self.register_buffer("padding_D", torch.where(padding, PADDING_LOGIT, 0.0), persistent=False)
        self.register_buffer("inverse_S", inverse, persistent=False)
        self.register_buffer("widths_S", torch.tensor(widths, dtype=torch.int64), persistent=False)
        self.widths = tuple(widths)

    def columns_of(self, span: int) -> slice:
        """The columns of one span, without its padding."""
        start = int(self.offsets_S[span])
        return slice(start, start + self.widths[span])

    def one_hot(self, codes_BS: Tensor) -> Tensor:
        """(B, D) with a one per span, in the arithmetic of `autocast`; padding stays zero."""
        rows = codes_BS.shape[0]
        out_BD = torch.zeros(rows, self.width, device=codes_BS.device, dtype=compute_dtype(codes_BS.device))
        return out_BD.scatter_(1, codes_BS + self.offsets_S, 1.0)

    def softmax(self, logits_BD: Tensor) -> Tensor:
        """Probabilities per span, float32 (B, D); padding gets exactly zero."""
        padded_BD = logits_BD.float() + self.padding_D
        return torch.cat([block.softmax(-1).flatten(1) for block in self._views(padded_BD)], 1)

    def cross_entropy(self, logits_BD: Tensor, codes_BS: Tensor) -> Tensor:
        """-log p(code) per span, float32 (B, S)."""
        padded_BD = logits_BD.float() + self.padding_D
        total_BS = torch.cat([block.logsumexp(-1) for block in self._views(padded_BD)], 1)
        return total_BS.index_select(1, self.inverse_S) - padded_BD.gather(1, codes_BS + self.offsets_S)

    def cross_entropy_at(self, logits_BD: Tensor, chosen_B2: Tensor) -> Tensor:
        """-log p(code) of one span per row, float32 (B,); `chosen_B2` int64 holds (span, code)."""
        span_B, code_B = chosen_B2.unbind(1)
        # Gathered for the chosen span alone: the cross-entropy of all spans would be computed to drop most.
        steps_W = torch.arange(max(self.widths), device=logits_BD.device)
        columns_BW = (self.offsets_S[span_B].unsqueeze(1) + steps_W).clamp_max(self.width - 1)
        outside_BW = steps_W >= self.widths_S[span_B].unsqueeze(1)
        own_BW = logits_BD.float().gather(1, columns_BW).masked_fill(outside_BW, PADDING_LOGIT)
        return own_BW.logsumexp(1) - own_BW.gather(1, code_B.unsqueeze(1)).squeeze(1)

    def normalised(self, weights_D: Tensor) -> Tensor:
        """Weights >= 0 scaled to sum to one in each span, float32 (D,); padding gets zero."""
        if not self.width:
            return weights_D
        # The softmax of logarithms is the share of the weights, and knows the padding.
        return self.softmax(weights_D.float().clamp_min(1e-30).log().unsqueeze(0))[0]

    def sample(self, logits_BD: Tensor, generator: torch.Generator) -> Tensor:
        """One code per span from its softmax, int64 (B, S), by inversion of its cumulative distribution."""
        uniform_SB = torch.rand(
            len(self.widths), logits_BD.shape[0], generator=generator, device=logits_BD.device
        )
        # Rows last: reductions along a short last axis are not vectorised. For 15 spans of 2 to 47 codes a
        # draw of 1,024 rows took 2.4 ms that way, more than the decoder's layers; this takes 1.3 ms.
        logits_DB = logits_BD.float().T.clone(memory_format=torch.contiguous_format)
        sizes = [count * width for count, width in self.blocks]
        parts, paddings = torch.split(logits_DB, sizes), torch.split(self.padding_D, sizes)
        codes: list[Tensor] = []
        first = 0
        for part, padding, (count, width), padded in zip(
            parts, paddings, self.blocks, self.padded, strict=True
        ):
            x_SWB = part.view(count, width, -1)
            if padded:
                x_SWB += padding.view(count, width, 1)
            total_SWB = x_SWB.sub_(x_SWB.amax(1, keepdim=True)).exp_()
            # Sums by additions of whole rows: `cumsum` along this axis takes more than twice as long.
            for before, after in itertools.pairwise(total_SWB.unbind(1)):
                after += before
            # Times the total instead of dividing every sum by it; the last code needs no comparison.
            level_S1B = (uniform_SB[first : first + count] * total_SWB[:, -1]).unsqueeze(1)
            codes.append((total_SWB[:, :-1] <= level_S1B).sum(1))
            first += count
        codes_SB = torch.cat(codes) if codes else uniform_SB.long()
        return codes_SB.index_select(0, self.inverse_S).T.contiguous()

    def argmax(self, values_BD: Tensor) -> Tensor:
        """The largest column of each span, int64 (B, S)."""
        padded_BD = values_BD.float() + self.padding_D
        codes = [block.argmax(-1) for block in self._views(padded_BD)]
        return torch.cat(codes, 1).index_select(1, self.inverse_S)

    def _views(self, x_BD: Tensor) -> list[Tensor]:
        if not self.blocks:
            return [x_BD.unsqueeze(2)]  # No spans: `cat` still needs one (empty) tensor.
        parts = torch.split(x_BD, [count * width for count, width in self.blocks], dim=1)
        return [part.unflatten(1, block) for part, block in zip(parts, self.blocks, strict=True)]  # type: ignore[no-untyped-call]


def _groups(order: list[int], widths: Sequence[int]) -> list[list[int]]:
    """Spans of similar width, widest first; padding is at most `MOST_PADDING` of a group's widest."""
    groups: list[list[int]] = []
    for span in order:
        if groups and widths[span] >= (1 - MOST_PADDING) * widths[groups[-1][0]]:
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups
