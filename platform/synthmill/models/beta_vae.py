"""beta-VAE: a variational autoencoder with independent latents (Higgins et al., ICLR 2017, equation 4).

beta weighs how far an image's divergence is from a number of nats that rises from 0 (arXiv 1804.03599,
equation 8, there of the mean over images). Pressed towards 0 instead, small images are not worth their
latents: with 64 pixels every class shrinks to one image. `capacity: 0` is equation 4 of the first paper.
Pixels are Bernoulli. Legend: B rows, C channels.
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
        """Sizes, steps, beta and capacity."""

        beta: float = tunable(4.0, low=1.0, high=16.0, log=True, gt=0)
        """Weight of the divergence from the prior, or of its distance from the capacity."""
        capacity: float = tunable(12.0, low=4.0, high=30.0, ge=0)
        """Nats that the latents may carry about an image at the end; 0: as few as beta lets them."""
        warmup_share: float = Field(0.5, ge=0, le=1)
        """Share of the steps over which the capacity rises from 0."""

    reference: ClassVar[str] = (
        "Higgins et al., ICLR 2017, equation 4 (openreview Sy2fzU9gl); capacity as in arXiv 1804.03599,"
        " equation 8"
    )
    reads_progress = True
    config: Config

    def divergence(self, nats_B: Tensor, progress: float) -> Tensor:
        risen = min(1.0, progress / self.config.warmup_share) if self.config.warmup_share else 1.0
        return self.config.beta * (nats_B - self.config.capacity * risen).abs()

    def reconstruction(self, out_BCHW: Tensor, x_BCHW: Tensor) -> dict[str, Tensor]:
        nats_BCHW = functional.binary_cross_entropy_with_logits(
            out_BCHW, (x_BCHW + 1.0) / 2.0, reduction="none"
        )
        # The same measure as the other autoencoders', so that their histories compare.
        error_B = (self.image(out_BCHW.detach()) - x_BCHW).square().flatten(1).mean(1)
        return {"reconstruction": nats_BCHW.flatten(1).sum(1), "log_squared_error": error_B}

    def image(self, out_BCHW: Tensor) -> Tensor:
        return torch.sigmoid(out_BCHW) * 2.0 - 1.0
