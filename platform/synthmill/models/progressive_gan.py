"""Progressive GAN: both networks grow from coarse images to fine ones; new levels fade in (arXiv 1710.10196).

One stage for each resolution. In the first half of a stage the new level's weight rises from 0 to 1; the loss
is WGAN-GP with a small drift term (appendix A.1). Classes enter beside the noise and through a projection
(arXiv 1802.05637, equation 3). Legend: B rows, Z noise, K classes, L levels after the first.
"""

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from synthmill.config import FrozenModel, tunable
from synthmill.data.batch import Batch
from synthmill.models._images import ImageModel
from synthmill.models.base import Adam, Phase, Rng, Stage
from synthmill.nn.convolution import crop, grid_of, widths_of
from synthmill.nn.equalized import (
    GROUP,
    EqualConv,
    EqualLinear,
    activated,
    gain,
    pad_to,
    pixel_norm,
    with_spread,
)
from synthmill.nn.penalty import wasserstein_penalty
from synthmill.nn.pixels import conditional_score

DRIFT = 1e-3
"""Weight of the drift term (appendix A.1)."""
FADE_SHARE = 0.5
"""Share of a stage in which its level fades in."""


class _Generator(nn.Module):
    def __init__(self, inputs: int, channels_out: int, height: int, width: int, widths: list[int]) -> None:
        super().__init__()
        self.size = (height, width)
        self.first = EqualLinear(inputs, widths[0] * height * width)
        self.blocks = nn.ModuleList(
            nn.ModuleList([EqualConv(narrow, wide), EqualConv(wide, wide)])
            for narrow, wide in zip([widths[0], *widths[:-1]], widths, strict=True)
        )
        self.to_pixels = nn.ModuleList(EqualConv(wide, channels_out, 1) for wide in widths)

    def forward(self, z_BZ: Tensor, level: int, alpha: float) -> Tensor:
        """Images at this level's resolution, the level itself with weight alpha."""
        x = pixel_norm(gain(self.first(pixel_norm(z_BZ)).view(len(z_BZ), -1, *self.size)))
        before = x
        for number in range(level + 1):
            before = x
            x = double(x) if number else x
            for convolution in self.blocks[number]:  # type: ignore[attr-defined]
                x = pixel_norm(gain(convolution(x)))
        fine: Tensor = self.to_pixels[level](x).float()
        if level == 0 or alpha >= 1.0:
            return fine
        return torch.lerp(double(self.to_pixels[level - 1](before).float()), fine, alpha)


class _Critic(nn.Module):
    def __init__(self, channels_in: int, height: int, width: int, widths: list[int], outputs: int) -> None:
        super().__init__()
        self.from_pixels = nn.ModuleList(EqualConv(channels_in, wide, 1) for wide in widths)
        coarser = [widths[0], *widths[:-1]]
        self.blocks = nn.ModuleList(
            nn.ModuleList([EqualConv(wide + (number == 0), wide), EqualConv(wide, coarse, halves=number > 0)])
            for number, (coarse, wide) in enumerate(zip(coarser, widths, strict=True))
        )
        self.head = EqualLinear(widths[0] * height * width, outputs)

    def forward(self, x: Tensor, level: int, alpha: float) -> Tensor:
        h = activated(self.from_pixels[level], x)
        for number in range(level, -1, -1):
            # Near the end: the paper found that best (section 3).
            h = with_spread(h) if number == 0 else h
            for convolution in self.blocks[number]:  # type: ignore[attr-defined]
                h = activated(convolution, h)
            if number == level and level and alpha < 1.0:
                h = torch.lerp(activated(self.from_pixels[level - 1], functional.avg_pool2d(x, 2)), h, alpha)
        return self.head(h.flatten(1))  # type: ignore[no-any-return]


class ProgressiveGan(ImageModel):
    """A GAN that grows."""

    class Config(FrozenModel):
        """Defaults as in the paper, with channels for small images."""

        latent_dim: int = tunable(64, choices=(32, 64, 128), ge=1)
        """Width of the noise."""
        channels: int = tunable(32, choices=(16, 32, 64), ge=1)
        """Channels at the finest level; each coarser level has twice as many, at most `max_channels`."""
        max_channels: int = Field(128, ge=1)
        """Channels at the coarsest level."""
        gradient_penalty: float = tunable(10.0, low=1.0, high=20.0, log=True, gt=0)
        """Weight of the gradient penalty."""
        learning_rate: float = tunable(1e-3, low=3e-4, high=3e-3, log=True, gt=0)
        """Adam's step size."""

    reference: ClassVar[str] = "arXiv 1710.10196, sections 2 to 4 and appendix A"
    config: Config
    place: Tensor

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        channels, height, width = self.shape
        self.grid = grid_of(height, width)
        widths = widths_of(config.channels, self.grid.levels + 1, config.max_channels)
        coarse = (self.grid.height, self.grid.width)
        self.generator = _Generator(config.latent_dim + self.classes, channels, *coarse, widths)
        self.critic = _Critic(channels, *coarse, widths, 1 + self.classes)
        # In the state, so that an artifact samples at the level that training reached.
        self.register_buffer("place", torch.tensor([float(self.grid.levels), 1.0]))

    @property
    def row_group(self) -> int:
        return GROUP

    def stages(self) -> tuple[Stage, ...]:
        adam = Adam(learning_rate=self.config.learning_rate, betas=(0.0, 0.99))
        stages = []
        for level in range(self.grid.levels + 1):
            # Only a new level fades in, and so depends on progress.
            critic = Phase(
                name=f"critic-{level}",
                modules=("critic",),
                optimizer=adam,
                reads_progress=level > 0,
                second_order=True,
            )
            generator = Phase(
                name=f"generator-{level}",
                modules=("generator",),
                optimizer=adam,
                reads_progress=level > 0,
            )
            stages.append(Stage(name=f"level-{level}", share=1.0 + level, phases=(critic, generator)))
        return tuple(stages)

    def loss(self, phase: str, batch: Batch, *, rng: Rng, progress: float) -> dict[str, Tensor]:
        kind, _, number = phase.partition("-")
        level = int(number)
        alpha = min(1.0, progress / FADE_SHARE) if level else 1.0
        # For `sample`, which is not called with the training's progress.
        self.place[0], self.place[1] = level, alpha
        y_BK = self.labels(batch)
        fake = self.generator(torch.cat([rng.normal("z", self.config.latent_dim), y_BK], 1), level, alpha)
        if kind == "generator":
            return {"generator": -self._score(fake, y_BK, level, alpha)}
        fake, real = fake.detach(), self._shrunk(self.real(batch, rng), level, alpha)
        real_B, fake_B = self._score(real, y_BK, level, alpha), self._score(fake, y_BK, level, alpha)
        uniform_B = rng.uniform("between")
        penalty_B = wasserstein_penalty(
            lambda x: self._score(x, y_BK, level, alpha), real, fake, uniform_B, self.config.gradient_penalty
        )
        return {
            "critic": fake_B - real_B,
            "penalty": penalty_B,
            # Keeps the critic's scores near 0: the other terms fix only their differences.
            "drift": DRIFT * real_B.square(),
            "log_distance": real_B - fake_B,
        }

    def _score(self, x: Tensor, y_BK: Tensor, level: int, alpha: float) -> Tensor:
        return conditional_score(self.critic(x, level, alpha), y_BK)

    def _shrunk(self, x: Tensor, level: int, alpha: float) -> Tensor:
        """Real images at a level's resolution."""
        # Faded as generated ones are (section 2): the critic would tell them apart by their sharpness alone.
        height, width, levels = self.grid
        x = pad_to(x, height * 2**levels, width * 2**levels)
        if level < levels:
            x = functional.avg_pool2d(x, 2 ** (levels - level))
        return torch.lerp(double(functional.avg_pool2d(x, 2)), x, alpha) if level and alpha < 1.0 else x

    def from_noise(self, z_BZ: Tensor, y_BK: Tensor, generator: torch.Generator) -> Tensor:
        level, alpha = int(self.place[0]), float(self.place[1])
        x = self.generator(torch.cat([z_BZ, y_BK], 1), level, alpha)
        for _ in range(self.grid.levels - level):
            x = double(x)
        # Enlarged if training ended before the finest level: samples always have the layout's size.
        return crop(x, *self.shape[1:])


def double(x: Tensor) -> Tensor:
    """Each pixel four times."""
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")
