"""beta-VAE: a variational autoencoder whose latents are pressed to be independent (Higgins et al., ICLR 2017, equation 4).

Pixels are Bernoulli, as in the paper's experiments on digits and shapes. Legend: B rows, C channels.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from synthmill.config import tunable
from synthmill.models._autoencoder import Autoencoder


class BetaVae(Autoencoder):
    """A variational autoencoder with a heavier divergence."""

    class Config(Autoencoder.Config):
        """Sizes, steps and beta."""

        beta: float = tunable(4.0, low=1.0, high=16.0, log=True, gt=0)
        """Weight of the divergence from the prior."""
        warmup_share: float = Field(0.2, ge=0, le=1)
        """Share of the steps over which the weight rises from 0, so that latents are used at all."""

    reference: ClassVar[str] = "Higgins et al., ICLR 2017, equation 4 (openreview Sy2fzU9gl)"
    config: Config

    def divergence_weight(self, progress: float) -> float:
        risen = min(1.0, progress / self.config.warmup_share) if self.config.warmup_share else 1.0
        return self.config.beta * risen

    def reconstruction(self, out_BCHW: Tensor, x_BCHW: Tensor) -> dict[str, Tensor]:
        nats_BCHW = functional.binary_cross_entropy_with_logits(out_BCHW, (x_BCHW + 1.0) / 2.0, reduction="none")
        error_B = (self.picture(out_BCHW.detach()) - x_BCHW).square().flatten(1).mean(1)
        return {"reconstruction": nats_BCHW.flatten(1).sum(1), "log_squared_error": error_B}

    def picture(self, out_BCHW: Tensor) -> Tensor:
        return torch.sigmoid(out_BCHW) * 2.0 - 1.0
