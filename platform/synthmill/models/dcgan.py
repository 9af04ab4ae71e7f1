"""DCGAN: a GAN of strided convolutions (arXiv 1511.06434, section 3).

With classes, the generator reads them beside the noise and the discriminator through a projection (arXiv
1802.05637, equation 3). Spectral norm, R1 (an update of its own every few steps, sharing the discriminator's
moments: arXiv 1912.04958, section 3.1) and DiffAugment are off as in the paper; they help with little data.
Legend: B rows, Z noise, K classes.
"""

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from synthmill.config import FrozenModel, tunable
from synthmill.data.batch import Batch
from synthmill.models._images import ImageModel
from synthmill.models.base import Adam, Phase, Rng, Stage
from synthmill.nn.augment import Policy
from synthmill.nn.convolution import Downward, Norm, Upward
from synthmill.nn.penalty import discriminator_terms, generator_term, r1
from synthmill.nn.pixels import conditional_score

R1_EVERY_STEPS = 8


class Dcgan(ImageModel):
    """Transposed convolutions against convolutions."""

    class Config(FrozenModel):
        """Defaults as in the paper, but half its channels: images here are small."""

        latent_dim: int = tunable(100, choices=(32, 64, 100), ge=1)
        """Width of the noise."""
        channels: int = tunable(64, choices=(32, 64, 128), ge=1)
        """Channels at the finest map; each coarser map has twice as many, at most 256."""
        norm: Norm = "batch"
        """Normalisation in both networks."""
        spectral_norm: bool = False
        """Divide the discriminator's weights by their largest singular value; use with `norm: none`."""
        r1_gamma: float = tunable(0.0, choices=(0.0, 0.1, 1.0), ge=0)
        """Weight of the gradient penalty on real images."""
        augment: tuple[Policy, ...] = ()
        """DiffAugment policies: brightness, contrast, translation, cutout."""
        learning_rate: float = tunable(2e-4, low=5e-5, high=1e-3, log=True, gt=0)
        """Adam's step size."""
        adam_beta1: float = Field(0.5, ge=0, lt=1)
        """Decay of Adam's first moment."""

    reference: ClassVar[str] = "arXiv 1511.06434, section 3; projection as in arXiv 1802.05637"
    config: Config

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        self.generator = nn.Sequential(
            Upward(config.latent_dim + self.classes, *self.shape, channels=config.channels, norm=config.norm),
            nn.Tanh(),
        )
        self.discriminator = Downward(
            *self.shape, channels=config.channels, norm=config.norm, spectral=config.spectral_norm
        )
        # One output for the image itself, and one for each class.
        self.head = nn.Linear(self.discriminator.features, 1 + self.classes)
        # N(0, 0.02) (section 4); the projection came later (arXiv 1802.05637) and starts as PyTorch does.
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1 and not name.startswith("head"):
                nn.init.normal_(parameter, 0.0, 0.02)

    def stages(self) -> tuple[Stage, ...]:
        config = self.config
        adam = Adam(learning_rate=config.learning_rate, betas=(config.adam_beta1, 0.999))
        judge = ("discriminator", "head")
        every = R1_EVERY_STEPS if config.r1_gamma else 0
        slow = adam.beside_lazy(every)
        phases = [
            Phase(name="discriminator", modules=judge, optimizer=slow),
            Phase(name="generator", modules=("generator",), optimizer=adam),
        ]
        if every:
            r1_phase = Phase(
                name="r1",
                modules=judge,
                optimizer=slow,
                every_steps=every,
                moments="discriminator",
                second_order=True,
            )
            phases.append(r1_phase)
        return (Stage(name="gan", share=1.0, phases=tuple(phases)),)

    def loss(self, phase: str, batch: Batch, *, rng: Rng, progress: float) -> dict[str, Tensor]:
        y_BK = self.labels(batch)
        if phase == "r1":
            # Times the interval, so that gamma means the same however rarely the penalty is computed.
            gamma = self.config.r1_gamma * R1_EVERY_STEPS
            return {"r1": r1(lambda x: self._score(x, y_BK), self.real(batch, rng), gamma)}
        augment = self.config.augment
        fake = self.generator(torch.cat([rng.normal("z", self.config.latent_dim), y_BK], 1))
        if phase == "generator":
            fake = self.augmented(fake, augment, rng, "fake")
            return {"generator": generator_term(self._score(fake, y_BK))}
        real = self.augmented(self.real(batch, rng), augment, rng, "real")
        # Real and generated ones alike, or the changes themselves would tell them apart.
        fake = self.augmented(fake.detach(), augment, rng, "fake")
        return discriminator_terms(self._score(real, y_BK), self._score(fake, y_BK))

    def _score(self, x_BCHW: Tensor, y_BK: Tensor) -> Tensor:
        return conditional_score(self.head(self.discriminator(x_BCHW)), y_BK)

    def refit(self, batches: list[Batch], rng: Rng) -> None:
        self.refit_generator(self.generator, self.config.latent_dim, batches, rng)

    def from_noise(self, z_BZ: Tensor, y_BK: Tensor, generator: torch.Generator) -> Tensor:
        return self.generator(torch.cat([z_BZ, y_BK], 1))  # type: ignore[no-any-return]
