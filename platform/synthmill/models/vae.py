"""A variational autoencoder of images (arXiv 1312.6114, equation 10), class-conditional if there are classes.

The decoder is a Gaussian whose one variance is learned with the rest (arXiv 2006.13202, section 4.1), which
balances the two terms without a weight; samples are its mean. Legend: B rows, P pixels.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from synthmill.models._autoencoder import Autoencoder


class Vae(Autoencoder):
    """A variational autoencoder with a learned variance."""

    trained = ("encoder", "decoder", "log_scale")
    reference: ClassVar[str] = "arXiv 1312.6114, equation 10; variance as in arXiv 2006.13202"

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def reconstruction(self, out_BCHW: Tensor, x_BCHW: Tensor) -> dict[str, Tensor]:
        error_BP = (torch.tanh(out_BCHW) - x_BCHW).square().flatten(1)
        # Bounded: on images that it reconstructs exactly the likelihood has no maximum.
        log_scale = self.log_scale.clamp(-5.0, 2.0)
        nats_BP = 0.5 * error_BP * torch.exp(-2.0 * log_scale) + log_scale + 0.5 * math.log(2.0 * math.pi)
        return {"reconstruction": nats_BP.sum(1), "log_squared_error": error_BP.detach().mean(1)}
