"""Control: independent columns. Every column has its training frequencies; nothing ties two columns together.

Within a column codes and numbers stay together: the two digits of a high-cardinality column, and a histogram
of the number in each segment. Legend: B rows, S spans, N numeric spans, K columns of the table, F codes of
all columns, V value columns, H histogram bins.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from synthmill.config import FrozenModel
from synthmill.data.batch import Batch, Condition
from synthmill.models.base import GenerativeModel, Stage
from synthmill.nn.table import MixedTable


class Marginals(GenerativeModel):
    """Closed form: counts."""

    class Config(FrozenModel):
        """Resolution of the histograms."""

        value_bins: int = Field(10, ge=1)
        """Bins over a segment."""

    modalities: ClassVar[tuple[str, ...]] = ("table",)
    reference: ClassVar[str] = "product of empirical marginals"
    encoding = "mixed"
    conditions = "none"
    config: Config
    cumulative_F: Tensor
    cumulative_VH: Tensor
    starts_K: Tensor
    divisors_S: Tensor
    widths_S: Tensor
    column_S: Tensor

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        self.table = MixedTable(layout)
        names = list(dict.fromkeys(span.column for span in layout.discrete))
        column_S = [names.index(span.column) for span in layout.discrete]
        # The two digits of a column are one number, so that its joint frequencies are counted.
        sizes = [1] * len(names)
        divisors = [1] * len(column_S)
        for span in reversed(range(len(column_S))):
            divisors[span] = sizes[column_S[span]]
            sizes[column_S[span]] *= layout.discrete[span].width
        sizes_K = torch.tensor(sizes, dtype=torch.int64)
        for name, value in (
            ("column_S", column_S),
            ("divisors_S", divisors),
            ("widths_S", [span.width for span in layout.discrete]),
        ):
            self.register_buffer(name, torch.tensor(value, dtype=torch.int64), persistent=False)
        self.register_buffer("starts_K", sizes_K.cumsum(0) - sizes_K, persistent=False)
        # float64: sums over many codes lose the share of a rare one in float32.
        self.register_buffer("cumulative_F", torch.zeros(int(sizes_K.sum()), dtype=torch.float64))
        self.register_buffer(
            "cumulative_VH", torch.zeros(self.table.num_values, config.value_bins, dtype=torch.float64)
        )

    def stages(self) -> tuple[Stage, ...]:
        return ()

    def fit_closed(self, batches: Iterable[Batch]) -> None:
        rows, bins = 0, self.config.value_bins
        counts_F = torch.zeros_like(self.cumulative_F, dtype=torch.int64)
        counts_VH = torch.zeros_like(self.cumulative_VH)
        for batch in batches:
            rows += batch.num_rows
            joint_BS = batch["codes"] * self.divisors_S
            joint_BK = joint_BS.new_zeros(batch.num_rows, len(self.starts_K))
            joint_BK.index_add_(1, self.column_S, joint_BS)
            counts_F += torch.bincount((joint_BK + self.starts_K).flatten(), minlength=len(counts_F))
            continuous_BN = self.table.continuous(batch["codes"]).bool()
            bin_BN = ((batch["values"] + 1) / 2 * bins).long().clamp(0, bins - 1)
            flat = (self.table.value_columns(batch["codes"]) * bins + bin_BN)[continuous_BN]
            counts_VH += torch.bincount(flat, minlength=counts_VH.numel()).reshape(counts_VH.shape)
        # Column k has its distribution between k and k + 1: one search finds the codes of all columns.
        self.cumulative_F.copy_(counts_F.double().cumsum(0) / rows)
        # A segment that no training row has is never drawn, but must not divide by zero.
        empty_V1 = counts_VH.sum(1, keepdim=True) == 0
        shares_VH = torch.where(empty_V1, 1.0, counts_VH)
        self.cumulative_VH.copy_((shares_VH / shares_VH.sum(1, keepdim=True)).cumsum(1))

    def sample(self, num_rows: int, *, condition: Condition | None, generator: torch.Generator) -> Batch:
        assert condition is None, "marginals takes no condition"
        device, columns = self.cumulative_F.device, len(self.starts_K)
        uniform_BK = torch.rand(num_rows, columns, generator=generator, device=device, dtype=torch.float64)
        levels_BK = uniform_BK + torch.arange(columns, device=device)
        last_K = torch.cat([self.starts_K[1:], self.starts_K.new_tensor([len(self.cumulative_F)])]) - 1
        flat_BK = torch.searchsorted(self.cumulative_F, levels_BK, right=True)
        # Rounding of the sums must not lead into a neighbouring column.
        joint_BK = torch.minimum(torch.maximum(flat_BK, self.starts_K), last_K) - self.starts_K
        codes_BS = joint_BK.index_select(1, self.column_S) // self.divisors_S % self.widths_S
        bins = self.config.value_bins
        columns_BN = self.table.value_columns(codes_BS)
        uniform_2BN = torch.rand(2, *columns_BN.shape, generator=generator, device=device)
        below_BNH = self.cumulative_VH[columns_BN] <= uniform_2BN[0].double().unsqueeze(-1)
        bin_BN = below_BNH.sum(-1).clamp_max(bins - 1)
        values_BN = (bin_BN + uniform_2BN[1]) / bins * 2 - 1
        return Batch(codes=codes_BS, values=values_BN * self.table.continuous(codes_BS))
