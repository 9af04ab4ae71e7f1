"""What convolutional variational autoencoders of images share (arXiv 1312.6114, equation 10).

Trained against a standard normal prior, they are sampled from one Gaussian for each class, fitted to the
latents of its training images (arXiv 1903.12436, section 4): elsewhere the decoder was never trained.
Legend: B rows, L latent dimensions, K classes.
"""

from typing import Any, ClassVar

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

FITTED_ROWS = 4_096
"""Training images that the latents' densities are fitted to, spread evenly over the data."""


class Autoencoder(ImageModel):
    """Encoder, decoder and divergence; what the reconstruction costs is the subclass's."""

    class Config(FrozenModel):
        """Sizes and steps."""

        latent_dim: int = tunable(16, choices=(8, 16, 32), ge=1)
        """Latent dimensions."""
        channels: int = tunable(32, choices=(16, 32, 64), ge=1)
        """Channels at the finest map; each coarser map has twice as many, at most 256."""
        hidden_dim: int = Field(256, ge=1)
        """Width of the dense layer behind the latents and before the posterior."""
        norm: Norm = "batch"
        """Normalisation in both networks."""
        learning_rate: float = tunable(1e-3, low=2e-4, high=3e-3, log=True, gt=0)
        """Adam's step size."""

    trained: ClassVar[tuple[str, ...]] = ("encoder", "decoder")
    """What the one phase moves."""
    reads_progress: ClassVar[bool] = False
    config: Config
    prior_mean_KL: Tensor
    prior_factor_KLL: Tensor

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        channels, height, width = self.shape
        body = Downward(channels, height, width, channels=config.channels, norm=config.norm)
        self.encoder = nn.ModuleDict(
            {
                "body": body,
                "dense": nn.Linear(body.features + self.classes, config.hidden_dim),
                "out": nn.Linear(config.hidden_dim, 2 * config.latent_dim),
            }
        )
        self.decoder = nn.Sequential(
            nn.Linear(config.latent_dim + self.classes, config.hidden_dim),
            nn.ReLU(),
            Upward(config.hidden_dim, channels, height, width, channels=config.channels, norm=config.norm),
        )
        groups = max(1, self.classes)
        self.register_buffer("prior_mean_KL", torch.zeros(groups, config.latent_dim))
        self.register_buffer("prior_factor_KLL", torch.eye(config.latent_dim).repeat(groups, 1, 1))

    def stages(self) -> tuple[Stage, ...]:
        adam = Adam(learning_rate=self.config.learning_rate, schedule="cosine", clip_norm=10.0)
        phase = Phase(name="elbo", modules=self.trained, optimizer=adam, reads_progress=self.reads_progress)
        return (Stage(name="vae", share=1.0, phases=(phase,)),)

    def encode(self, x_BCHW: Tensor, y_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z | x, y), each (B, L)."""
        h_BF = torch.relu(self.encoder["dense"](torch.cat([self.encoder["body"](x_BCHW).float(), y_BK], 1)))
        mean_BL, log_variance_BL = self.encoder["out"](h_BF).float().chunk(2, dim=1)
        # Bounds that no useful latent reaches: exp of an early outlier would be infinite.
        return mean_BL, log_variance_BL.clamp(-12.0, 6.0)

    def loss(self, phase: str, batch: Batch, *, rng: Rng, progress: float) -> dict[str, Tensor]:
        x_BCHW, y_BK = self.real(batch, rng), self.labels(batch)
        mean_BL, log_variance_BL = self.encode(x_BCHW, y_BK)
        z_BL = mean_BL + torch.exp(0.5 * log_variance_BL) * rng.normal("z", self.config.latent_dim)
        divergence_B = 0.5 * (mean_BL.square() + log_variance_BL.exp() - 1.0 - log_variance_BL).sum(1)
        out_BCHW = self.decoder(torch.cat([z_BL, y_BK], 1))
        terms = {
            "divergence": self.divergence(divergence_B, progress),
            **self.reconstruction(out_BCHW, x_BCHW),
        }
        return {**terms, "log_nats": divergence_B.detach()}

    def divergence(self, nats_B: Tensor, progress: float) -> Tensor:
        """The loss of the divergence of q(z | x, y) from the prior, (B,)."""
        return nats_B

    def reconstruction(self, out_BCHW: Tensor, x_BCHW: Tensor) -> dict[str, Tensor]:
        """-log p(x | z) from the decoder's raw output, (B,), in nats."""
        raise NotImplementedError

    def image(self, out_BCHW: Tensor) -> Tensor:
        """The mean of p(x | z) in [-1, 1] from the decoder's raw output."""
        return torch.tanh(out_BCHW)

    def refit(self, batches: list[Batch], rng: Rng) -> None:
        def forward(number: int) -> None:
            z_BL = self._posterior(batches[number], rng, f"refit-{number}")
            self.decoder(torch.cat([z_BL, self.labels(batches[number])], 1))

        # First: the encoder's statistics decide where the latents are.
        refit_norms(self, forward, self.refit_passes(batches))
        # Spread over the data, as images are often sorted by class.
        stride = -(-sum(batch.num_rows for batch in batches) // FITTED_ROWS)
        spread = [batch.take(slice(None, None, stride)) for batch in batches]
        latents = [self._posterior(batch, rng, f"posterior-{number}") for number, batch in enumerate(spread)]
        z_BL = torch.cat(latents)
        label_B = torch.zeros(len(z_BL), dtype=torch.int64)
        if self.classes:
            label_B = torch.cat([batch["label"] for batch in spread])
        for group in range(len(self.prior_mean_KL)):
            self._fit_prior(group, z_BL[label_B.to(z_BL.device) == group])

    def _posterior(self, batch: Batch, rng: Rng, name: str) -> Tensor:
        """Latents of training images, drawn from q(z | x, y): (B, L)."""
        mean_BL, log_variance_BL = self.encode(unit(batch["pixels"]), self.labels(batch))
        noise_BL = rng.normal(name, self.config.latent_dim)[: batch.num_rows]
        return mean_BL + torch.exp(0.5 * log_variance_BL) * noise_BL

    def _fit_prior(self, group: int, z_BL: Tensor) -> None:
        """Mean and covariance of a class's latents."""
        # As if it had L more images that follow the prior: a class of few images would otherwise have a
        # covariance that is singular, and one of a single image would be sampled as that image.
        few = self.config.latent_dim
        share = len(z_BL) / (len(z_BL) + few)
        mean_L = share * (z_BL.mean(0) if len(z_BL) else self.prior_mean_KL.new_zeros(few))
        away_BL = z_BL - mean_L
        identity_LL = torch.eye(few, device=z_BL.device)
        pulled_LL = identity_LL + mean_L.unsqueeze(1) * mean_L
        covariance_LL = (away_BL.T @ away_BL + few * pulled_LL) / (len(z_BL) + few)
        self.prior_mean_KL[group] = mean_L
        self.prior_factor_KLL[group] = torch.linalg.cholesky(covariance_LL)

    def from_noise(self, z_BZ: Tensor, y_BK: Tensor, generator: torch.Generator) -> Tensor:
        group_B = torch.zeros(len(z_BZ), dtype=torch.int64, device=z_BZ.device)
        if self.classes:
            group_B = y_BK.argmax(1)
        z_BL = self.prior_mean_KL[group_B] + (self.prior_factor_KLL[group_B] @ z_BZ.unsqueeze(2)).squeeze(2)
        return self.image(self.decoder(torch.cat([z_BL, y_BK], 1)))
