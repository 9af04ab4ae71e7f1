"""How good a table model is now: pair accuracy of what it generates against validation rows, over its
real-vs-real ceiling.

Accuracy of a pair of columns is 1 - TVD of their joint table on deciles and categories (arXiv 2504.01908).
A model that knows how probable rows are, and finds validation rows less probable than independent columns do,
has learnt its training rows by heart; what it exceeds them by is taken off when checks are compared. A rise
above its own minimum is no such fault: rows became more alike real ones for a while after it. All pairs come
from one matrix product of one-hot rows. The ceiling is what a perfect model would score on
samples of this size: E |p - q|_1 = sum_b sqrt(2 / pi * p_b (1 - p_b) (1 / n1 + 1 / n2)). Legend: N rows, C
columns, D bins of all columns.
"""

import math
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthmill.data.batch import Batch
from synthmill.data.codecs.base import Codec
from synthmill.data.layout import Layout, MixedLayout
from synthmill.generation.sampler import BLOCK_ROWS, device_of
from synthmill.models.base import GenerativeModel
from synthmill.training.quality.base import Cost, QualityCheck, sample_blocks
from synthmill.training.rows import chunks

BINS = 10
MOST_CATEGORIES = 20
MOST_COLUMNS = 100
JACKKNIFE_PARTS = 5
JOINT_ROWS = 65_536
LARGEST_ROWS = 4_096
"""Validation rows whose likelihood is looked at."""


class Bins:
    """Deciles and frequent categories of every column, from training rows."""

    def __init__(self, train: pa.Table) -> None:
        # Pairs grow with the square of the columns; an even choice of them says as much of the model.
        picked = np.unique(
            np.linspace(0, train.num_columns - 1, min(train.num_columns, MOST_COLUMNS)).astype(int)
        )
        self.columns = [train.column_names[index] for index in picked]
        self._edges: dict[str, NDArray[np.float64]] = {}
        self._values: dict[str, pa.Array] = {}
        widths = []
        for name in self.columns:
            column = train[name].combine_chunks()
            kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_temporal)
            if any(is_kind(column.type) for is_kind in kinds):
                values = _numbers(column)
                known = values[~np.isnan(values)]
                deciles = np.linspace(0, 1, BINS + 1)[1:-1]
                self._edges[name] = np.unique(np.quantile(known, deciles)) if len(known) else np.zeros(0)
                widths.append(len(self._edges[name]) + 2)
            else:
                counts = column.drop_null().value_counts()
                order = np.argsort(-counts.field("counts").to_numpy(), kind="stable")[:MOST_CATEGORIES]
                self._values[name] = counts.field("values").take(pa.array(order))
                widths.append(len(order) + 2)
        self.offsets_C = torch.tensor(np.concatenate([[0], np.cumsum(widths)[:-1]]), dtype=torch.int64)
        self.width = int(sum(widths))
        self.member_DC = torch.zeros(self.width, len(widths))
        self.member_DC[
            torch.arange(self.width), torch.repeat_interleave(torch.arange(len(widths)), torch.tensor(widths))
        ] = 1.0

    def one_hot(self, table: pa.Table) -> Tensor:
        """float32 (N, D)."""
        codes_NC = torch.from_numpy(
            np.stack([self._codes(name, table[name].combine_chunks()) for name in self.columns], axis=1)
        )
        return torch.zeros(table.num_rows, self.width).scatter_(1, codes_NC + self.offsets_C, 1.0)

    def _codes(self, name: str, column: Any) -> NDArray[np.int64]:
        """0: missing; then deciles, or 1: other and the frequent categories."""
        if name in self._edges:
            values = _numbers(column)
            return np.where(
                np.isnan(values), 0, np.searchsorted(self._edges[name], values, side="right") + 1
            ).astype(np.int64)
        known = pc.index_in(column, value_set=self._values[name]).fill_null(-1).to_numpy(zero_copy_only=False)
        return np.where(column.is_null().to_numpy(zero_copy_only=False), 0, known + 2).astype(np.int64)


class TableQuality(QualityCheck):
    """Samples, decodes and scores rows of a table."""

    @property
    def cost(self) -> Cost:
        # Measured 4 to 13 steps where this says 4 to 15 (docs/log.md).
        return Cost(3.0, 0.3 * self.rows)

    @classmethod
    def of(
        cls, codec: Codec, train: pa.Table, validation: pa.Table, encoded: Batch, *, seed: int
    ) -> Self | None:
        if validation.num_rows == 0 or train.num_columns == 0:
            return None
        return cls(codec, train, validation, encoded, seed=seed)

    def __init__(
        self, codec: Codec, train: pa.Table, validation: pa.Table, encoded: Batch, *, seed: int
    ) -> None:
        self._codec = codec
        self._seed = seed
        # Whole blocks, as sampling draws them; more rows cost time and gain little on a small table.
        self.rows = 4096 if train.num_rows >= 4096 else 2048
        self._bins = Bins(train)
        self._real_DD = self._joint(validation)
        self._ceiling = self._expected(self._joint(train), validation.num_rows)
        some = codec.encode(validation.slice(0, LARGEST_ROWS))
        self._validation = chunks(some, BLOCK_ROWS)
        self._independent = _independent_nats(codec.layout, encoded, some)

    def __call__(self, model: GenerativeModel) -> dict[str, float]:
        """`score`: pair accuracy over its ceiling, in [0, ~1]; `noise`: its standard error (jackknife over
        the sampled rows); of a model with a likelihood `validation_nats` and `selection`."""
        blocks = []
        for block in sample_blocks(model, self.rows, self._seed):
            blocks.append(self._bins.one_hot(self._codec.condition_table(block)))
        groups = torch.cat(blocks).chunk(JACKKNIFE_PARTS)
        joints = [group_ND.T @ group_ND for group_ND in groups]
        whole_DD = torch.stack(joints).sum(0)
        accuracy = self._accuracy(whole_DD / self.rows)
        # Joint counts add up, so leaving a part out is a subtraction.
        remaining = [self.rows - group_ND.shape[0] for group_ND in groups]
        left_out = [
            self._accuracy((whole_DD - joint_DD) / rows)
            for joint_DD, rows in zip(joints, remaining, strict=True)
        ]
        spread = sum((value - sum(left_out) / len(left_out)) ** 2 for value in left_out)
        noise = math.sqrt((len(left_out) - 1) / len(left_out) * spread)
        scores = {
            "score": accuracy / self._ceiling,
            "noise": noise / self._ceiling,
            "accuracy": accuracy,
            "ceiling": self._ceiling,
        }
        device = device_of(model)
        nats = [nats_B for batch in self._validation if (nats_B := model.nats(batch.to(device))) is not None]
        if nats:
            # Apart from the score, which people compare between models with a likelihood and without.
            scores["validation_nats"] = float(torch.cat(nats).mean())
            scores["independent_nats"] = self._independent
            lost = max(0.0, scores["validation_nats"] - self._independent)
            scores["selection"] = scores["score"] - lost
        return scores

    def _joint(self, table: pa.Table) -> Tensor:
        """Shares of the rows for each pair of bins, float32 (D, D)."""
        # Some rows at a time: all of them as one-hot vectors take a hundred times the table's own memory.
        # Counts of so few are exact in float32, and their sums in float64.
        counts_DD = torch.zeros(self._bins.width, self._bins.width, dtype=torch.float64)
        for start in range(0, table.num_rows, JOINT_ROWS):
            one_hot_ND = self._bins.one_hot(table.slice(start, JOINT_ROWS))
            counts_DD += one_hot_ND.T @ one_hot_ND
        shares_DD: Tensor = counts_DD.float() / table.num_rows
        return shares_DD

    def _accuracy(self, joint_DD: Tensor) -> float:
        return self._mean_pair(0.5 * (joint_DD - self._real_DD).abs())

    def _expected(self, joint_DD: Tensor, real_rows: int) -> float:
        spread_DD = torch.sqrt(2 / math.pi * joint_DD * (1 - joint_DD) * (1 / real_rows + 1 / self.rows))
        return self._mean_pair(0.5 * torch.minimum(spread_DD, 2 * joint_DD))

    def _mean_pair(self, distance_DD: Tensor) -> float:
        """1 - the mean over pairs of columns (over columns, if there is one) of distances summed over their
        cells."""
        distance_CC = self._bins.member_DC.T @ distance_DD @ self._bins.member_DC
        columns = distance_CC.shape[0]
        if columns == 1:
            return 1.0 - float(distance_CC[0, 0])
        return 1.0 - float(distance_CC.triu(1).sum()) / (columns * (columns - 1) / 2)


def _independent_nats(layout: Layout, train: Batch, validation: Batch) -> float:
    """Mean over rows and codes of -log share of the code among the training rows."""
    if "codes" not in train or not isinstance(layout, MixedLayout) or not layout.discrete:
        return math.inf
    total = 0.0
    for span, codes, new in zip(
        layout.discrete, train["codes"].T.cpu(), validation["codes"].T.cpu(), strict=True
    ):
        # Half a row of each code, as models begin: one that no row has is improbable, not impossible.
        counts = torch.bincount(codes, minlength=span.width).double() + 0.5
        total -= float((counts / counts.sum()).log()[new].mean())
    return total / len(layout.discrete)


def _numbers(column: Any) -> NDArray[np.float64]:
    """float64 with NaN for missing."""
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.int32() if column.type.bit_width == 32 else pa.int64())
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
