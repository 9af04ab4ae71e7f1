"""A variational autoencoder of images (arXiv 1312.6114, equation 10), class-conditional when there are
classes.

The decoder is a Gaussian whose one variance is learned with the rest (arXiv 2006.13202, section 4.1), which
balances the two terms without a weight; samples are its mean. Legend: B rows, C channels.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from synthmill.models._autoencoder import Autoencoder


class Vae(Autoencoder):
    """A variational autoencoder with a learned variance."""

    reference: ClassVar[str] = "arXiv 1312.6114, equation 10; variance as in arXiv 2006.13202"

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def trained(self) -> tuple[str, ...]:
        return ("encoder", "decoder", "log_scale")

    def reconstruction(self, out_BCHW: Tensor, x_BCHW: Tensor) -> dict[str, Tensor]:
        error_B = (torch.tanh(out_BCHW) - x_BCHW).square().flatten(1)
        log_scale = self.log_scale.clamp(-5.0, 2.0)
        nats_B = (
            0.5 * error_B * torch.exp(-2.0 * log_scale) + log_scale + 0.5 * math.log(2.0 * math.pi)
        ).sum(1)
        return {"reconstruction": nats_B, "log_squared_error": error_B.detach().mean(1)}
