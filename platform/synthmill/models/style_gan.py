"""StyleGAN with weight demodulation: noise becomes a style, and styles modulate convolutions.

Mapping network and style mixing: 1812.04948, sections 2 and 3.1. Modulated convolutions: 1912.04958,
equations 1 and 3. Skip generator, residual discriminator: section 4.1 there. Lazy R1: section 3.1; path
length: section 3.2 (its running mean is a parameter here, so that workers agree). Truncation: 1812.04948,
appendix B. DiffAugment: arXiv 2006.10738. Written from the papers alone. Legend: B rows, Z noise, W style, K
classes, C channels, N convolutions.
"""

import itertools
import math
from typing import Any, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from synthmill.config import FrozenModel, tunable
from synthmill.data.batch import Batch
from synthmill.models._images import ImageModel
from synthmill.models.base import Adam, Phase, Rng, Stage
from synthmill.nn.augment import Policy
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
from synthmill.nn.penalty import discriminator_terms, generator_term, r1
from synthmill.nn.pixels import conditional_score

R1_EVERY_STEPS, PATH_EVERY_STEPS = 16, 8
MAPPING_RATE = 0.01
"""Learning rate of the mapping network relative to the rest (1812.04948, appendix C)."""
AVERAGED_STYLES = 1024


class _Modulated(nn.Module):
    """A convolution with style-scaled input channels and normalised weights (1912.04958, equations 1, 3)."""

    def __init__(
        self, inputs: int, outputs: int, style: int, *, width: int = 3, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, width, width))
        self.affine = EqualLinear(style, inputs, bias=1.0)  # At first, styles scale by about 1.
        self.scale = 1.0 / math.sqrt(inputs * width * width)
        self.padding = width // 2
        self.demodulate = demodulate

    def forward(self, x_BCHW: Tensor, w_BW: Tensor) -> Tensor:
        # Scaling activations before and after one ordinary convolution gives the same sums as scaling its
        # weights for each row.
        style_BC = self.affine(w_BW).float()
        weight = self.weight * self.scale
        x_BCHW = functional.conv2d(_times(x_BCHW, style_BC), weight, padding=self.padding)
        if not self.demodulate:
            return x_BCHW
        norm_BC = torch.rsqrt(style_BC.square() @ weight.square().sum((2, 3)).T + 1e-8)
        return _times(x_BCHW, norm_BC)


def _times(x_BCHW: Tensor, factor_BC: Tensor) -> Tensor:
    # In the precision of the activations: promoting them would cost more than the convolution.
    return x_BCHW * factor_BC.to(x_BCHW.dtype)[:, :, None, None]


class _Styled(nn.Module):
    """Modulated convolution, noise, bias, LeakyReLU."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.convolution = _Modulated(inputs, outputs, style)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x_BCHW: Tensor, w_BW: Tensor, noise_BHW: Tensor) -> Tensor:
        x_BCHW = self.convolution(x_BCHW, w_BW)
        noise_BHW, bias_C = (self.strength * noise_BHW).to(x_BCHW.dtype), self.bias.to(x_BCHW.dtype)
        return gain(x_BCHW + noise_BHW.unsqueeze(1) + bias_C[:, None, None])


class _Mapping(nn.Module):
    """Noise and class to a style."""

    class_size: Tensor

    def __init__(self, inputs: int, style: int, depth: int) -> None:
        super().__init__()
        widths = [inputs] + [style] * depth
        # The class is as long as the noise: as a single 1 beside 64 numbers of size 1 it had hardly any
        # effect (label fidelity 0.125 on digits; 0.883 with this).
        self.register_buffer("class_size", torch.tensor(math.sqrt(style)))
        self.layers = nn.ModuleList(
            EqualLinear(a, b, rate=MAPPING_RATE) for a, b in itertools.pairwise(widths)
        )

    def forward(self, z_BZ: Tensor, y_BK: Tensor) -> Tensor:
        x = torch.cat([pixel_norm(z_BZ), y_BK * self.class_size], 1)
        for layer in self.layers:
            x = gain(layer(x))
        return x.float()


class _Synthesis(nn.Module):
    """Styles (B, N, W) and noise to images; each level adds its pixels to the doubled sum of coarser ones."""

    def __init__(self, style: int, channels_out: int, height: int, width: int, widths: list[int]) -> None:
        super().__init__()
        # Learned, instead of the noise that other generators start from (1812.04948, section 2).
        self.constant = nn.Parameter(torch.randn(1, widths[0], height, width))
        pairs = [(widths[0], widths[0])] + [
            pair for a, b in itertools.pairwise(widths) for pair in ((a, b), (b, b))
        ]
        self.convolutions = nn.ModuleList(_Styled(a, b, style) for a, b in pairs)
        self.to_pixels = nn.ModuleList(
            _Modulated(wide, channels_out, style, width=1, demodulate=False) for wide in widths
        )
        self.sizes = [(height << (i + 1) // 2, width << (i + 1) // 2) for i in range(len(pairs))]

    def forward(self, w_BNW: Tensor, noises: list[Tensor]) -> Tensor:
        x = self.constant.expand(len(w_BNW), -1, -1, -1)
        pixels: Tensor | None = None
        for i, convolution in enumerate(self.convolutions):
            # Two convolutions a level, but one at the coarsest: odd ones begin a level, even ones end it.
            x = _double(x) if i % 2 else x
            x = convolution(x, w_BNW[:, i], noises[i])
            if i % 2 == 0:
                level = self.to_pixels[i // 2](x, w_BNW[:, i]).float()
                pixels = level if pixels is None else _double(pixels) + level
        assert pixels is not None
        return pixels


class _Discriminator(nn.Module):
    def __init__(self, channels_in: int, height: int, width: int, widths: list[int], outputs: int) -> None:
        super().__init__()
        self.first = EqualConv(channels_in, widths[-1], 1)
        fine = list(reversed(widths))
        self.blocks = nn.ModuleList(
            nn.ModuleList([EqualConv(a, a), EqualConv(a, b, halves=True), EqualConv(a, b, 1, halves=True)])
            for a, b in itertools.pairwise(fine)
        )
        # One more channel: the spread of the batch.
        self.last = EqualConv(widths[0] + 1, widths[0])
        self.dense = EqualLinear(widths[0] * height * width, widths[0])
        self.head = EqualLinear(widths[0], outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = activated(self.first, x)
        for block in self.blocks:
            one, two, skip = cast(tuple[EqualConv, EqualConv, EqualConv], block)
            # (activated + skip) / sqrt(2); activations of a residual block are scaled by sqrt(2).
            x = functional.leaky_relu(two(activated(one, x)), 0.2) + skip(x, math.sqrt(0.5))
        x = activated(self.last, with_spread(x))
        return self.head(gain(self.dense(x.flatten(1))))  # type: ignore[no-any-return]


class StyleGan(ImageModel):
    """A style-based generator against a residual discriminator."""

    class Config(FrozenModel):
        """Defaults for images of 28 to 64 pixels."""

        latent_dim: int = tunable(64, choices=(64, 128), ge=1)
        """Width of the noise and of the style."""
        mapping_layers: int = tunable(4, low=2, high=8, ge=1)
        """Depth of the mapping network."""
        channels: int = tunable(32, choices=(16, 32, 64), ge=1)
        """Channels at the finest level; each coarser level has twice as many, at most `max_channels`."""
        max_channels: int = Field(128, ge=1)
        """Channels at the coarsest level."""
        style_mixing: float = tunable(0.5, low=0.0, high=0.9, ge=0, le=1)
        """Share of rows whose coarse and fine levels get different styles in training."""
        r1_gamma: float = tunable(0.02, low=0.002, high=10.0, log=True, ge=0)
        """Weight gamma of the gradient penalty on real images; a rule is 0.0002 pixels over the rows of a
        batch (arXiv 2006.06676)."""
        path_length_weight: float = tunable(1.0, choices=(0.0, 1.0, 2.0), ge=0)
        """Weight of the path length penalty."""
        truncation: float = Field(1.0, ge=0, le=1)
        """How far from their mean styles are sampled: 1 all the way, less for more typical and less varied
        images."""
        augment: tuple[Policy, ...] = ("translation",)
        """DiffAugment policies: brightness, contrast, translation, cutout."""
        learning_rate: float = tunable(2e-3, low=5e-4, high=4e-3, log=True, gt=0)
        """Adam's step size."""

    reference: ClassVar[str] = "arXiv 1912.04958, sections 2 to 4; arXiv 1812.04948, sections 2 and 3"
    config: Config
    mean_style_KW: Tensor

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        channels, height, width = self.shape
        self.grid = grid_of(height, width)
        widths = widths_of(config.channels, self.grid.levels + 1, config.max_channels)
        self.mapping = _Mapping(config.latent_dim + self.classes, config.latent_dim, config.mapping_layers)
        self.synthesis = _Synthesis(config.latent_dim, channels, self.grid.height, self.grid.width, widths)
        self.discriminator = _Discriminator(
            channels, self.grid.height, self.grid.width, widths, 1 + self.classes
        )
        # A logarithm, as a length is positive.
        self.log_path = nn.Parameter(torch.tensor(-2.0))
        self.register_buffer("mean_style_KW", torch.zeros(max(1, self.classes), config.latent_dim))

    @property
    def row_group(self) -> int:
        return GROUP

    def stages(self) -> tuple[Stage, ...]:
        r1_every = R1_EVERY_STEPS if self.config.r1_gamma else 0
        path_every = PATH_EVERY_STEPS if self.config.path_length_weight else 0
        judge, makers = ("discriminator",), ("mapping", "synthesis", *(("log_path",) if path_every else ()))
        adam = Adam(learning_rate=self.config.learning_rate, betas=(0.0, 0.99))
        slow, fast = adam.beside_lazy(r1_every), adam.beside_lazy(path_every)
        phases = [
            Phase(name="discriminator", modules=judge, optimizer=slow),
            Phase(name="generator", modules=makers, optimizer=fast),
        ]
        if r1_every:
            r1_phase = Phase(
                name="r1",
                modules=judge,
                optimizer=slow,
                every_steps=r1_every,
                moments="discriminator",
                second_order=True,
            )
            phases.append(r1_phase)
        if path_every:
            path = Phase(
                name="path",
                modules=makers,
                optimizer=fast,
                every_steps=path_every,
                moments="generator",
                second_order=True,
            )
            phases.append(path)
        return (Stage(name="gan", share=1.0, phases=tuple(phases)),)

    def loss(self, phase: str, batch: Batch, *, rng: Rng, progress: float) -> dict[str, Tensor]:
        y_BK = self.labels(batch)
        if phase == "r1":
            # Times the interval, so that gamma means the same however rarely the penalty is computed.
            gamma = self.config.r1_gamma * R1_EVERY_STEPS
            return {"r1": r1(lambda x: self._score(x, y_BK), self._real(batch, rng), gamma)}
        if phase == "path":
            return self._path_length(y_BK, rng)
        augment = self.config.augment
        fake = self.synthesis(self._mixed_styles(y_BK, rng), self._noises(rng))
        if phase == "generator":
            fake = self.augmented(fake, augment, rng, "fake")
            return {"generator": generator_term(self._score(fake, y_BK))}
        real = self.augmented(self._real(batch, rng), augment, rng, "real")
        fake = self.augmented(fake.detach(), augment, rng, "fake")
        return discriminator_terms(self._score(real, y_BK), self._score(fake, y_BK))

    def _real(self, batch: Batch, rng: Rng) -> Tensor:
        # Levels double exactly, so the finest may overshoot the image: real ones are padded to it.
        height, width, levels = self.grid
        return pad_to(self.real(batch, rng), height << levels, width << levels)

    def _score(self, x_BCHW: Tensor, y_BK: Tensor) -> Tensor:
        return conditional_score(self.discriminator(x_BCHW), y_BK)

    def _mixed_styles(self, y_BK: Tensor, rng: Rng) -> Tensor:
        """(B, N, W); rows drawn for mixing take a second style from a random convolution on."""
        count = len(self.synthesis.convolutions)
        first_BW, second_BW = (
            self.mapping(rng.normal(name, self.config.latent_dim), y_BK) for name in ("z", "z-mixed")
        )
        uniform_B2 = rng.uniform("mixing", 2)
        # Rows that are not drawn for mixing change style after the last convolution: never.
        change_B = 1 + (uniform_B2[:, 1] * (count - 1)).long()
        from_B = torch.where(uniform_B2[:, 0] < self.config.style_mixing, change_B, count)
        second_BN = torch.arange(count, device=y_BK.device) >= from_B.unsqueeze(1)
        return torch.where(second_BN.unsqueeze(2), second_BW.unsqueeze(1), first_BW.unsqueeze(1))

    def _noises(self, rng: Rng) -> list[Tensor]:
        return [rng.normal(f"noise-{i}", *size) for i, size in enumerate(self.synthesis.sizes)]

    def _path_length(self, y_BK: Tensor, rng: Rng) -> dict[str, Tensor]:
        """(|J_w^T n| - a)^2 with n ~ N(0, I) (1912.04958, equation 4)."""
        w_BNW = self._mixed_styles(y_BK, rng)
        x_BCHW = self.synthesis(w_BNW, self._noises(rng))
        n_BCHW = rng.normal("direction", *x_BCHW.shape[1:]) / math.sqrt(x_BCHW.shape[2] * x_BCHW.shape[3])
        # J_w^T n is the gradient of the product of image and n: no Jacobian is ever formed.
        (gradient_BNW,) = torch.autograd.grad((x_BCHW * n_BCHW).sum(), w_BNW, create_graph=True)
        # The root's own gradient at 0 is infinite.
        length_B = (gradient_BNW.square().sum(2).mean(1) + 1e-12).sqrt()
        target = self.log_path.exp()
        # `target` moves to the mean length by a term of its own; the paper keeps a running mean instead.
        weight = self.config.path_length_weight * PATH_EVERY_STEPS
        return {
            "path": weight * (length_B - target.detach()).square(),
            "path_mean": (length_B.detach() - target).square(),
            "log_path_length": length_B.detach(),
        }

    def refit(self, batches: list[Batch], rng: Rng) -> None:
        """The mean style of each class, towards which truncation pulls."""
        device = self.mean_style_KW.device
        # Fixed numbers, so that every worker computes the same means.
        draws = torch.Generator(device).manual_seed(0)
        for label in range(len(self.mean_style_KW)):
            y_BK = torch.zeros(AVERAGED_STYLES, self.classes, device=device)
            if self.classes:
                y_BK[:, label] = 1.0
            z_BZ = torch.randn(AVERAGED_STYLES, self.config.latent_dim, generator=draws, device=device)
            self.mean_style_KW[label] = self.mapping(z_BZ, y_BK).mean(0)

    def from_noise(self, z_BZ: Tensor, y_BK: Tensor, generator: torch.Generator) -> Tensor:
        w_BW = self.mapping(z_BZ, y_BK)
        # Towards the class's own mean: that of all classes would be the style of none.
        mean_BW = y_BK @ self.mean_style_KW if self.classes else self.mean_style_KW
        w_BW = mean_BW + self.config.truncation * (w_BW - mean_BW)
        noises = [
            torch.randn(len(y_BK), *size, generator=generator, device=generator.device)
            for size in self.synthesis.sizes
        ]
        w_BNW = w_BW.unsqueeze(1).expand(-1, len(self.synthesis.convolutions), -1)
        return crop(self.synthesis(w_BNW, noises), *self.shape[1:])


class _Double(torch.autograd.Function):
    """Bilinear doubling; its gradient is two matrix products: 0.38 ms on a CPU where PyTorch's took 3.7."""

    @staticmethod
    def forward(context: Any, x_BCHW: Tensor) -> Tensor:
        return functional.interpolate(x_BCHW, scale_factor=2.0, mode="bilinear", align_corners=False)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        (gradient_BCHW,) = gradients
        with torch.autocast(gradient_BCHW.device.type, enabled=False):
            rows, columns = (_doubling(side // 2, gradient_BCHW) for side in gradient_BCHW.shape[2:])
            return rows.T @ (gradient_BCHW @ columns)


def _doubling(size: int, like: Tensor) -> Tensor:
    """(2 size, size): linear interpolation as a matrix, in the precision and on the device of `like`."""
    unit = torch.eye(size, dtype=like.dtype, device=like.device).unsqueeze(0)
    return functional.interpolate(unit, scale_factor=2.0, mode="linear", align_corners=False)[0].T


def _double(x: Tensor) -> Tensor:
    return cast(Tensor, _Double.apply(x))  # type: ignore[no-untyped-call]
