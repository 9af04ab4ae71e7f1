"""InfoGAN: a GAN whose latent codes keep their meaning in the image (arXiv 1606.03657, equations 3 to 6).

A categorical code and some continuous ones, uniform in [-1, 1], can be set when sampling (`Condition.latent`:
`c1`, `c2`, ...). With classes, the categorical code is the class, and the discriminator sees it too
(projection, arXiv 1802.05637). The reader Q takes the discriminator's features as they are: the bound moves
generator and reader, not the discriminator. Legend: B rows, Z noise, C continuous codes, K classes or
categories.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from synthmill.config import FrozenModel, tunable
from synthmill.data.batch import Batch, Condition
from synthmill.models._images import ImageModel
from synthmill.models.base import Adam, Latent, Phase, Rng, Stage
from synthmill.nn.blocks import refit_norms
from synthmill.nn.convolution import Downward, Norm, Upward
from synthmill.nn.penalty import discriminator_terms, generator_term
from synthmill.nn.pixels import conditional_score, one_hot


class Infogan(ImageModel):
    """A GAN with a network that reads the codes back."""

    class Config(FrozenModel):
        """Defaults as in the paper's appendix C.1, with fewer channels."""

        latent_dim: int = tunable(62, choices=(32, 62), ge=1)
        """Width of the noise that no code explains."""
        categories: int = Field(10, ge=0)
        """Values of the categorical code where the data has no classes; 0: no such code."""
        continuous_codes: int = Field(2, ge=0)
        """Continuous codes."""
        information_weight: float = tunable(1.0, low=0.1, high=2.0, log=True, ge=0)
        """Weight of the mutual information between codes and image."""
        channels: int = tunable(64, choices=(32, 64), ge=1)
        """Channels at the finest map; each coarser map has twice as many, at most 256."""
        norm: Norm = "batch"
        """Normalisation in both networks."""
        discriminator_learning_rate: float = tunable(2e-4, low=5e-5, high=5e-4, log=True, gt=0)
        """Adam's step size for the discriminator."""
        generator_learning_rate: float = tunable(1e-3, low=2e-4, high=2e-3, log=True, gt=0)
        """Adam's step size for the generator and the code reader."""

    reference: ClassVar[str] = "arXiv 1606.03657, equations 3 to 6"
    config: Config

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        self.categories: int = self.classes or config.categories
        inputs = config.latent_dim + self.categories + config.continuous_codes
        self.generator = nn.Sequential(
            Upward(inputs, *self.shape, channels=config.channels, norm=config.norm), nn.Tanh()
        )
        self.discriminator = Downward(*self.shape, channels=config.channels, norm=config.norm)
        self.head = nn.Linear(self.discriminator.features, 1 + self.classes)
        self.reader = nn.Sequential(
            nn.Linear(self.discriminator.features, 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, self.categories + 2 * config.continuous_codes),
        )

    @property
    def latent_codes(self) -> tuple[Latent, ...]:
        """`category` (of models without classes), `c1`, `c2`, ..."""
        # Continuous codes are trained on [-1, 1]; the paper shows them on [-2, 2].
        category = Latent("category", 0, self.categories - 1, integer=True)
        named = (category,) if self.categories and not self.classes else ()
        return named + tuple(Latent(f"c{i + 1}", -2.0, 2.0) for i in range(self.config.continuous_codes))

    def stages(self) -> tuple[Stage, ...]:
        slow = Adam(learning_rate=self.config.discriminator_learning_rate, betas=(0.5, 0.999))
        fast = Adam(learning_rate=self.config.generator_learning_rate, betas=(0.5, 0.999))
        phases = (
            Phase(name="discriminator", modules=("discriminator", "head"), optimizer=slow),
            Phase(name="generator", modules=("generator", "reader"), optimizer=fast),
        )
        return (Stage(name="gan", share=1.0, phases=phases),)

    def loss(self, phase: str, batch: Batch, *, rng: Rng, progress: float) -> dict[str, Tensor]:
        y_BK = self.labels(batch)
        z_BZ, category_BK, codes_BC = self._inputs(batch, rng, "fake")
        fake = self.generator(torch.cat([z_BZ, category_BK, codes_BC], 1))
        if phase == "discriminator":
            real_B = self._score(self.discriminator(self.real(batch, rng)), y_BK)
            return discriminator_terms(real_B, self._score(self.discriminator(fake.detach()), y_BK))
        # Generator and reader gain from the bound; the discriminator is not among this phase's modules.
        features_BF = self.discriminator(fake)
        surprise_B, bound_B = self._information(self.reader(features_BF).float(), category_BK, codes_BC)
        return {
            "generator": generator_term(self._score(features_BF, y_BK)),
            "information": self.config.information_weight * surprise_B,
            "log_mutual_information": bound_B,
        }

    def _inputs(self, batch: Batch, rng: Rng, name: str) -> tuple[Tensor, Tensor, Tensor]:
        """Noise, one-hot categories (the classes, if there are any) and continuous codes of a batch."""
        z_BZ = rng.normal(f"z-{name}", self.config.latent_dim)[: batch.num_rows]
        codes_BC = rng.uniform(f"codes-{name}", self.config.continuous_codes)[: batch.num_rows] * 2.0 - 1.0
        if self.classes:
            return z_BZ, self.labels(batch), codes_BC
        # At least one category can be drawn; where there is none, the one-hot below has no columns.
        drawn_B = rng.integers(f"category-{name}", max(1, self.categories))[: batch.num_rows]
        return z_BZ, one_hot(drawn_B, self.categories), codes_BC

    def _score(self, features_BF: Tensor, y_BK: Tensor) -> Tensor:
        return conditional_score(self.head(features_BF), y_BK)

    def _information(self, read_BR: Tensor, category_BK: Tensor, codes_BC: Tensor) -> tuple[Tensor, Tensor]:
        """-E log Q(c | x), and the bound L_I = H(c) + E log Q(c | x) in nats (equation 5)."""
        logits_BK = read_BR[:, : self.categories]
        mean_BC, log_scale_BC = read_BR[:, self.categories :].chunk(2, dim=1)
        # Bounded: a reader that is sure of a code would otherwise gain without end by shrinking its scale.
        log_scale_BC = log_scale_BC.clamp(-4.0, 2.0)
        square_BC = ((codes_BC - mean_BC) * torch.exp(-log_scale_BC)).square()
        surprise_BC = 0.5 * square_BC + log_scale_BC + 0.5 * math.log(2 * math.pi)
        surprise_B = surprise_BC.sum(1) - (category_BK * functional.log_softmax(logits_BK, 1)).sum(1)
        # Uniform on [-1, 1]: log 2 nats for each code.
        entropy = self.config.continuous_codes * math.log(2.0) + math.log(max(1, self.categories))
        return surprise_B, entropy - surprise_B.detach()

    def refit(self, batches: list[Batch], rng: Rng) -> None:
        def forward(number: int) -> None:
            self.generator(torch.cat(self._inputs(batches[number], rng, f"refit-{number}"), 1))

        refit_norms(self.generator, forward, self.refit_passes(batches))

    def sample(self, num_rows: int, *, condition: Condition | None, generator: torch.Generator) -> Batch:
        latent = dict(condition.latent) if condition is not None else {}
        known = {latent.name for latent in self.latent_codes}
        assert set(latent) <= known, f"latent codes {sorted(latent)}; there is {sorted(known)}"
        label_B, y_BK = self.draw_labels(num_rows, condition, generator)
        z_BZ = torch.randn(num_rows, self.config.latent_dim, generator=generator, device=y_BK.device)
        return self.as_batch(self._with_codes(z_BZ, y_BK, latent, generator), label_B)

    def from_noise(self, z_BZ: Tensor, y_BK: Tensor, generator: torch.Generator) -> Tensor:
        return self._with_codes(z_BZ, y_BK, {}, generator)

    def _with_codes(
        self, z_BZ: Tensor, y_BK: Tensor, latent: Mapping[str, float], generator: torch.Generator
    ) -> Tensor:
        rows, device, count = len(z_BZ), z_BZ.device, self.config.continuous_codes
        # All are drawn, then those in `latent` replaced: fixing one leaves the others as they are.
        codes_BC = torch.rand(rows, count, generator=generator, device=device) * 2.0 - 1.0
        category_B = torch.randint(max(1, self.categories), (rows,), generator=generator, device=device)
        for name, value in latent.items():
            if name == "category":
                category_B = torch.full_like(category_B, int(value))
            else:
                codes_BC[:, int(name[1:]) - 1] = value
        category_BK = y_BK if self.classes else one_hot(category_B, self.categories)
        return self.generator(torch.cat([z_BZ, category_BK, codes_BC], 1))  # type: ignore[no-any-return]
