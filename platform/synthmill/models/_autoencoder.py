"""What variational autoencoders of pictures share (arXiv 1312.6114, equation 10): convolutional, class-conditional with classes.

Legend: B rows, L latent dimensions, K classes.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from synthmill.config import FrozenModel, tunable
from synthmill.data.batch import Batch
from synthmill.models._images import ImageModel
from synthmill.models.base import Adam, Phase, Rng, Stage
from synthmill.nn.blocks import refit_norms
from synthmill.nn.convolution import Downward, Norm, Upward
from synthmill.nn.pixels import unit


class Autoencoder(ImageModel):
    """Encoder, decoder and divergence; what the reconstruction costs is the subclass's."""

    class Config(FrozenModel):
        """Sizes and steps."""

        latent: int = tunable(16, choices=(8, 16, 32), ge=1)
        """Latent dimensions."""
        channels: int = tunable(32, choices=(16, 32, 64), ge=1)
        """Channels at the finest map; each coarser map has twice as many, at most 256."""
        hidden: int = Field(256, ge=1)
        """Width of the dense layer behind the latents and before the posterior."""
        norm: Norm = "batch"
        """Normalisation in both networks."""
        learning_rate: float = tunable(1e-3, low=2e-4, high=3e-3, log=True, gt=0)
        """Adam's step size."""

    config: Config

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        channels, height, width = self.shape
        body = Downward(channels, height, width, channels=config.channels, norm=config.norm)
        self.encoder = nn.ModuleDict(
            {
                "body": body,
                "dense": nn.Linear(body.features + self.classes, config.hidden),
                "out": nn.Linear(config.hidden, 2 * config.latent),
            }
        )
        self.decoder = nn.Sequential(
            nn.Linear(config.latent + self.classes, config.hidden),
            nn.ReLU(),
            Upward(config.hidden, channels, height, width, channels=config.channels, norm=config.norm),
        )

    @property
    def noise_width(self) -> int:
        return self.config.latent

    def stages(self) -> tuple[Stage, ...]:
        adam = Adam(learning_rate=self.config.learning_rate, schedule="cosine", clip_norm=10.0)
        return (Stage(name="vae", share=1.0, phases=(Phase(name="elbo", modules=self.trained(), optimizer=adam),)),)

    def trained(self) -> tuple[str, ...]:
        """What the one phase moves."""
        return ("encoder", "decoder")

    def encode(self, x_BCHW: Tensor, y_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z | x, y), each (B, L)."""
        h_BF = torch.relu(self.encoder["dense"](torch.cat([self.encoder["body"](x_BCHW).float(), y_BK], 1)))
        mean_BL, log_variance_BL = self.encoder["out"](h_BF).float().chunk(2, dim=1)
        return mean_BL, log_variance_BL.clamp(-12.0, 6.0)

    def loss(self, phase: str, batch: Batch, *, rng: Rng, progress: float) -> dict[str, Tensor]:
        x_BCHW, y_BK = self.real(batch, rng), self.labels(batch)
        mean_BL, log_variance_BL = self.encode(x_BCHW, y_BK)
        z_BL = mean_BL + torch.exp(0.5 * log_variance_BL) * rng.normal("z", self.config.latent)
        divergence_B = 0.5 * (mean_BL.square() + log_variance_BL.exp() - 1.0 - log_variance_BL).sum(1)
        out_BCHW = self.decoder(torch.cat([z_BL, y_BK], 1))
        return {"divergence": self.divergence_weight(progress) * divergence_B, **self.reconstruction(out_BCHW, x_BCHW)}

    def divergence_weight(self, progress: float) -> float:
        """Beta."""
        return 1.0

    def reconstruction(self, out_BCHW: Tensor, x_BCHW: Tensor) -> dict[str, Tensor]:
        """-log p(x | z) from the decoder's raw output, (B,), in nats."""
        raise NotImplementedError

    def picture(self, out_BCHW: Tensor) -> Tensor:
        """The mean of p(x | z) in [-1, 1] from the decoder's raw output."""
        return torch.tanh(out_BCHW)

    def refit(self, batches: list[Batch], rng: Rng) -> None:
        def forward(number: int) -> None:
            batch = batches[number]
            y_BK = self.labels(batch)
            mean_BL, log_variance_BL = self.encode(unit(batch["pixels"]), y_BK)
            noise_BL = rng.normal(f"refit-{number}", self.config.latent)[: batch.num_rows]
            self.decoder(torch.cat([mean_BL + torch.exp(0.5 * log_variance_BL) * noise_BL, y_BK], 1))

        refit_norms(self, forward, self.refit_passes(batches))

    def from_noise(self, z_BZ: Tensor, y_BK: Tensor, generator: torch.Generator) -> Tensor:
        return self.picture(self.decoder(torch.cat([z_BZ, y_BK], 1)))
