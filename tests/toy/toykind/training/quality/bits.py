"""How near the share of ones in each place is to that of validation lines."""

from typing import Self

import pyarrow as pa
import torch

from synthmill.data.batch import Batch, concat
from synthmill.data.codecs.base import Codec
from synthmill.models.base import GenerativeModel
from synthmill.training.quality.base import QualityCheck, sample_blocks


class BitsQuality(QualityCheck):
    """1 - the mean difference of shares."""

    rows = 1024

    def __init__(self, share_W: torch.Tensor, seed: int) -> None:
        self._share_W, self._seed = share_W, seed

    @classmethod
    def of(
        cls, codec: Codec, train: pa.Table, validation: pa.Table, encoded: Batch, *, seed: int
    ) -> Self | None:
        return cls(codec.encode(validation)["codes"].float().mean(0), seed) if validation.num_rows else None

    def __call__(self, model: GenerativeModel) -> dict[str, float]:
        rows = concat(list(sample_blocks(model, self.rows, self._seed)))["codes"].float()
        return {"score": 1.0 - float((rows.mean(0) - self._share_W).abs().mean()), "noise": 0.01}
