"""How a network reads and writes `mixed` rows: one-hot codes, and numbers within segments.

Legend: B rows, S discrete spans, N numeric spans, D one-hot columns, V value columns (one for each segment of
a numeric column).
"""

import torch
from torch import Tensor, nn

from synthmill.data.batch import Batch
from synthmill.data.layout import MixedLayout
from synthmill.nn.spans import Spans

MOST_MEMBERS = 2**22
"""Of the matrix that sums values by column: 16 MB. Wider tables sum without it, as it grows with the square
of their columns."""


class MixedTable(nn.Module):
    """Constants of a `MixedLayout` as buffers; nothing in `state_dict`."""

    spans_N: Tensor
    segments_N: Tensor
    starts_N: Tensor
    columns_V: Tensor
    owner_V: Tensor
    member_VN: Tensor | None

    def __init__(self, layout: MixedLayout) -> None:
        super().__init__()
        self.spans = Spans([span.width for span in layout.discrete])
        segments = torch.tensor([span.segments for span in layout.numeric], dtype=torch.int64)
        self.num_numeric = len(layout.numeric)
        self.num_values = int(segments.sum())
        """V."""
        spans = torch.tensor([span.discrete for span in layout.numeric], dtype=torch.int64)
        self.register_buffer("spans_N", spans, persistent=False)
        self.register_buffer("segments_N", segments, persistent=False)
        starts = [self.spans.columns_of(span.discrete).start for span in layout.numeric]
        columns = [
            start + torch.arange(span.segments) for start, span in zip(starts, layout.numeric, strict=True)
        ]
        columns_V = torch.cat(columns) if columns else torch.zeros(0, dtype=torch.int64)
        self.register_buffer("columns_V", columns_V, persistent=False)
        owner_V = torch.repeat_interleave(torch.arange(self.num_numeric), segments)
        self.register_buffer("owner_V", owner_V, persistent=False)
        member_VN = None
        if self.num_values * self.num_numeric <= MOST_MEMBERS:
            member_VN = torch.zeros(self.num_values, self.num_numeric)
            member_VN[torch.arange(self.num_values), owner_V] = 1.0
        self.register_buffer("member_VN", member_VN, persistent=False)
        self.register_buffer("starts_N", segments.cumsum(0) - segments, persistent=False)

    def features(self, batch: Batch) -> Tensor:
        """(B, D + N) in the arithmetic of `autocast`: one-hot codes, then values (zero where missing)."""
        one_hot_BD = self.spans.one_hot(batch["codes"])
        if self.num_numeric == 0:
            return one_hot_BD
        values_BN = batch["values"] * self.continuous(batch["codes"])
        return torch.cat([one_hot_BD, values_BN.to(one_hot_BD.dtype)], 1)

    def continuous(self, codes_BS: Tensor) -> Tensor:
        """float32 (B, N): 1 where the code is a continuous segment, 0 at point masses and missing values."""
        return (codes_BS.index_select(1, self.spans_N) < self.segments_N).float()

    def soft_values(self, soft_BD: Tensor, values_BV: Tensor) -> Tensor:
        """Values weighted by their segments' probabilities, float32 (B, N): what `features` has for codes."""
        # Autocast would round probabilities and values to bf16 before they are summed.
        with torch.autocast(soft_BD.device.type, enabled=False):
            weighted_BV = soft_BD.index_select(1, self.columns_V) * values_BV
            if self.member_VN is not None:
                return weighted_BV @ self.member_VN
            zeros_BN = weighted_BV.new_zeros(len(weighted_BV), self.num_numeric)
            return zeros_BN.index_add(1, self.owner_V, weighted_BV)

    def value_columns(self, codes_BS: Tensor) -> Tensor:
        """int64 (B, N): the column among V of each row's segment."""
        # Point masses and missing values get the last segment's: a valid index whose value is not read.
        segment_BN = torch.minimum(codes_BS.index_select(1, self.spans_N), self.segments_N - 1)
        return segment_BN + self.starts_N


def class_counts(codes_BS: Tensor, spans: Spans) -> Tensor:
    """Rows per code, float32 (D,), in the columns of `spans`."""
    flat = (codes_BS + spans.offsets_S).flatten()
    return torch.bincount(flat, minlength=spans.width).float()
