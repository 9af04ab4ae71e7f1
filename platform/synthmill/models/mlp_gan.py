"""The classical generative adversarial network of fully connected layers (arXiv 1406.2661, algorithm 1).

With classes, both networks read them beside their input (arXiv 1411.1784, figure 1).
Legend: B rows, Z noise, K classes, P pixels.
"""

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from synthmill.config import FrozenModel, tunable
from synthmill.data.batch import Batch
from synthmill.models._images import ImageModel
from synthmill.models.base import Adam, Phase, Rng, Stage
from synthmill.nn.penalty import discriminator_terms, generator_term


class MlpGan(ImageModel):
    """Two perceptrons against each other."""

    class Config(FrozenModel):
        """The generator that everybody begins with: 100 -> 256 -> 512 -> pixels."""

        latent_dim: int = tunable(100, choices=(32, 64, 100), ge=1)
        """Width of the noise."""
        generator_widths: tuple[int, ...] = (256, 512)
        """Hidden widths of the generator."""
        discriminator_widths: tuple[int, ...] = (1024, 512)
        """Hidden widths of the discriminator."""
        dropout: float = tunable(0.3, low=0.0, high=0.5, ge=0, lt=1)
        """Share of the discriminator's hidden units left out of a step."""
        batch_norm: bool = True
        """Batch normalisation between the generator's layers."""
        learning_rate: float = tunable(2e-4, low=5e-5, high=1e-3, log=True, gt=0)
        """Adam's step size."""
        adam_beta1: float = Field(0.5, ge=0, lt=1)
        """Decay of Adam's first moment."""

    reference: ClassVar[str] = "arXiv 1406.2661, algorithm 1; classes as in arXiv 1411.1784"
    config: Config

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        pixels = layout.channels * layout.height * layout.width
        layers: list[nn.Module] = []
        inputs = config.latent_dim + self.classes
        for width in config.generator_widths:
            # An identity keeps the layers' numbers, which are their names in artifacts.
            norm = nn.BatchNorm1d(width) if config.batch_norm else nn.Identity()
            layers += [nn.Linear(inputs, width), norm, nn.LeakyReLU(0.2)]
            inputs = width
        self.generator = nn.Sequential(*layers, nn.Linear(inputs, pixels), nn.Tanh())
        layers, inputs = [], pixels + self.classes
        for width in config.discriminator_widths:
            layers += [nn.Linear(inputs, width), nn.LeakyReLU(0.2), nn.Dropout(config.dropout)]
            inputs = width
        self.discriminator = nn.Sequential(*layers, nn.Linear(inputs, 1))

    def stages(self) -> tuple[Stage, ...]:
        adam = Adam(learning_rate=self.config.learning_rate, betas=(self.config.adam_beta1, 0.999))
        phases = (
            Phase(name="discriminator", modules=("discriminator",), optimizer=adam),
            Phase(name="generator", modules=("generator",), optimizer=adam),
        )
        return (Stage(name="gan", share=1.0, phases=phases),)

    def loss(self, phase: str, batch: Batch, *, rng: Rng, progress: float) -> dict[str, Tensor]:
        y_BK = self.labels(batch)
        fake_BP = self.generator(torch.cat([rng.normal("z", self.config.latent_dim), y_BK], 1))
        if phase == "generator":
            return {"generator": generator_term(self._score(fake_BP, y_BK))}
        real_BP = self.real(batch, rng).flatten(1)
        # Detached: the discriminator's phase needs no gradient of the generator.
        return discriminator_terms(self._score(real_BP, y_BK), self._score(fake_BP.detach(), y_BK))

    def _score(self, x_BP: Tensor, y_BK: Tensor) -> Tensor:
        return self.discriminator(torch.cat([x_BP, y_BK], 1)).float().squeeze(1)  # type: ignore[no-any-return]

    def refit(self, batches: list[Batch], rng: Rng) -> None:
        self.refit_generator(self.generator, self.config.latent_dim, batches, rng)

    def from_noise(self, z_BZ: Tensor, y_BK: Tensor, generator: torch.Generator) -> Tensor:
        return self.generator(torch.cat([z_BZ, y_BK], 1)).view(-1, *self.shape)  # type: ignore[no-any-return]
