"""A coin for each place, fitted in closed form."""

from collections.abc import Iterable
from typing import Any, ClassVar

import torch

from synthmill.config import FrozenModel
from synthmill.data.batch import Batch, Condition
from synthmill.models.base import GenerativeModel, Stage
from toykind.data.codecs.bits import BitsLayout


class Coins(GenerativeModel):
    """Independent Bernoulli draws."""

    class Config(FrozenModel):
        """Nothing to set."""

    modalities: ClassVar[tuple[str, ...]] = ("bits",)
    encoding = "bits"
    conditions = "none"
    reference: ClassVar[str] = "J. Bernoulli, Ars Conjectandi, 1713"
    layout: BitsLayout
    share_W: torch.Tensor

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        self.register_buffer("share_W", torch.full((layout.width,), 0.5))

    def stages(self) -> tuple[Stage, ...]:
        return ()

    def fit_closed(self, batches: Iterable[Batch]) -> None:
        self.share_W.copy_(torch.cat([batch["codes"] for batch in batches]).float().mean(0))

    def sample(self, num_rows: int, *, condition: Condition | None, generator: torch.Generator) -> Batch:
        uniform_BW = torch.rand(num_rows, self.layout.width, generator=generator, device=self.share_W.device)
        return Batch(codes=(uniform_BW < self.share_W).long())
