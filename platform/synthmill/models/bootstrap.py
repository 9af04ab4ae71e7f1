"""Control: copies training rows, which are its weights, with replacement. Privacy checks must catch it."""

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from synthmill.config import FrozenModel
from synthmill.data.batch import Batch, Condition, concat
from synthmill.models.base import GenerativeModel, Stage


class Bootstrap(GenerativeModel):
    """Closed form: keeps every encoded row."""

    class Config(FrozenModel):
        """Nothing to set."""

    modalities: ClassVar[tuple[str, ...]] = ("table",)
    reference: ClassVar[str] = "Efron 1979, Annals of Statistics 7(1)"
    encoding = "mixed"
    conditions = "none"
    copies_training_rows = True
    codes: Tensor
    values: Tensor

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        self.register_buffer("codes", torch.zeros(layout.rows, len(layout.discrete), dtype=torch.int64))
        self.register_buffer("values", torch.zeros(layout.rows, len(layout.numeric)))

    def stages(self) -> tuple[Stage, ...]:
        return ()

    def fit_closed(self, batches: Iterable[Batch]) -> None:
        data = concat(list(batches))
        self.codes.copy_(data["codes"])
        self.values.copy_(data["values"])

    def sample(self, num_rows: int, *, condition: Condition | None, generator: torch.Generator) -> Batch:
        assert condition is None, "bootstrap takes no condition"
        device = self.codes.device
        rows_B = torch.randint(len(self.codes), (num_rows,), generator=generator, device=device)
        return Batch(codes=self.codes[rows_B], values=self.values[rows_B])
