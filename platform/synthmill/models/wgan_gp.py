"""WGAN-GP: a critic with bounded gradients instead of a discriminator (arXiv 1704.00028, algorithm 1).

With classes, the generator reads them beside the noise and the critic through a projection (arXiv 1802.05637,
equation 3). Legend: B rows, Z noise, K classes.
"""

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from synthmill.config import FrozenModel, tunable
from synthmill.data.batch import Batch
from synthmill.models._images import ImageModel
from synthmill.models.base import Adam, Phase, Rng, Stage
from synthmill.nn.convolution import Downward, Norm, Upward
from synthmill.nn.penalty import wasserstein_penalty
from synthmill.nn.pixels import conditional_score


class WganGp(ImageModel):
    """Convolutions trained on the Wasserstein distance."""

    class Config(FrozenModel):
        """Defaults as in algorithm 1, with twice its step size."""

        latent_dim: int = tunable(64, choices=(32, 64, 128), ge=1)
        """Width of the noise."""
        channels: int = tunable(32, choices=(16, 32, 64), ge=1)
        """Channels at the finest map; each coarser map has twice as many, at most 256."""
        generator_norm: Norm = "batch"
        """Normalisation in the generator."""
        critic_norm: Literal["group", "none"] = "none"
        """Normalisation in the critic; batch normalisation would tie rows together and void the penalty."""
        gradient_penalty: float = tunable(10.0, low=1.0, high=20.0, log=True, gt=0)
        """Weight of the gradient penalty."""
        critic_steps: int = tunable(5, low=1, high=5, ge=1)
        """Updates of the critic for one of the generator."""
        learning_rate: float = tunable(2e-4, low=5e-5, high=1e-3, log=True, gt=0)
        """Adam's step size."""
        adam_beta1: float = Field(0.0, ge=0, lt=1)
        """Decay of Adam's first moment."""

    reference: ClassVar[str] = "arXiv 1704.00028, algorithm 1; projection as in arXiv 1802.05637"
    config: Config

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        inputs = config.latent_dim + self.classes
        self.generator = nn.Sequential(
            Upward(inputs, *self.shape, channels=config.channels, norm=config.generator_norm), nn.Tanh()
        )
        self.critic = Downward(*self.shape, channels=config.channels, norm=config.critic_norm)
        self.head = nn.Linear(self.critic.features, 1 + self.classes)

    def stages(self) -> tuple[Stage, ...]:
        adam = Adam(learning_rate=self.config.learning_rate, betas=(self.config.adam_beta1, 0.9))
        phases = (
            Phase(
                name="critic",
                modules=("critic", "head"),
                optimizer=adam,
                repeats=self.config.critic_steps,
                second_order=True,
            ),
            Phase(name="generator", modules=("generator",), optimizer=adam),
        )
        return (Stage(name="gan", share=1.0, phases=phases),)

    def loss(self, phase: str, batch: Batch, *, rng: Rng, progress: float) -> dict[str, Tensor]:
        y_BK = self.labels(batch)
        fake = self.generator(torch.cat([rng.normal("z", self.config.latent_dim), y_BK], 1))
        if phase == "generator":
            return {"generator": -self._score(fake, y_BK)}
        # Detached: the critic's phase needs no gradient of the generator.
        real, fake = self.real(batch, rng), fake.detach()
        real_B, fake_B = self._score(real, y_BK), self._score(fake, y_BK)
        penalty_B = wasserstein_penalty(
            lambda x: self._score(x, y_BK), real, fake, rng.uniform("between"), self.config.gradient_penalty
        )
        return {"critic": fake_B - real_B, "penalty": penalty_B, "log_distance": real_B - fake_B}

    def _score(self, x_BCHW: Tensor, y_BK: Tensor) -> Tensor:
        return conditional_score(self.head(self.critic(x_BCHW)), y_BK)

    def refit(self, batches: list[Batch], rng: Rng) -> None:
        self.refit_generator(self.generator, self.config.latent_dim, batches, rng)

    def from_noise(self, z_BZ: Tensor, y_BK: Tensor, generator: torch.Generator) -> Tensor:
        return self.generator(torch.cat([z_BZ, y_BK], 1))  # type: ignore[no-any-return]
