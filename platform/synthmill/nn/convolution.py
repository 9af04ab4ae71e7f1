"""Convolutional bodies: from a vector to an image by strided transposed convolutions, and from an image to
features by strided ones (arXiv 1511.06434, section 3).

Any height and width will do: the coarsest grid is about 4 to 7 wide, and what its doublings overshoot is cut
off. Images of a single doubling get one more convolution at the coarsest map: with only one convolution a
network, three GANs fell short of 0.9 in label fidelity or utility on 8x8 digits (docs/log.md).
"""

import itertools
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

Norm = Literal["batch", "group", "none"]


class Grid(NamedTuple):
    """The coarsest map, and how often it is doubled."""

    height: int
    width: int
    levels: int


def grid_of(height: int, width: int) -> Grid:
    """Doublings until the shorter side of the coarsest map is at least 4; at least one."""
    levels = max(1, (min(height, width) // 4).bit_length() - 1)
    return Grid(-(-height // 2**levels), -(-width // 2**levels), levels)


def widths_of(channels: int, levels: int, most: int = 256) -> list[int]:
    """Channels from the coarsest map to the finest: `channels` at the finest, then doubled, up to `most`."""
    return [min(channels * 2**level, most) for level in reversed(range(levels))]


def norm_of(kind: Norm, channels: int) -> nn.Module:
    """BatchNorm, GroupNorm of one group (layer norm over C, H, W), or nothing."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(1, channels) if kind == "group" else nn.Identity()


def crop(x_BCHW: Tensor, height: int, width: int) -> Tensor:
    """The centre, `height` by `width`."""
    top, left = (x_BCHW.shape[2] - height) // 2, (x_BCHW.shape[3] - width) // 2
    return x_BCHW[:, :, top : top + height, left : left + width]


class Upward(nn.Module):
    """(B, inputs) -> (B, channels_out, H, W), not squashed."""

    def __init__(
        self, inputs: int, channels_out: int, height: int, width: int, *, channels: int, norm: Norm
    ) -> None:
        super().__init__()
        self.grid = grid_of(height, width)
        self.size = (height, width)
        widths = widths_of(channels, self.grid.levels)
        # The extra convolution has a step of width too, as each doubling has.
        coarse = 2 * widths[0] if self.grid.levels == 1 else widths[0]
        self.first = nn.Linear(inputs, coarse * self.grid.height * self.grid.width)
        layers: list[nn.Module] = [norm_of(norm, coarse), nn.ReLU()]
        if self.grid.levels == 1:
            layers += [nn.Conv2d(coarse, widths[0], 3, padding=1), norm_of(norm, widths[0]), nn.ReLU()]
        for narrow, wide in itertools.pairwise(widths):
            layers += [
                nn.ConvTranspose2d(narrow, wide, 4, stride=2, padding=1),
                norm_of(norm, wide),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(
            *layers, nn.ConvTranspose2d(widths[-1], channels_out, 4, stride=2, padding=1)
        )

    def forward(self, z_BZ: Tensor) -> Tensor:
        x_BCHW = self.first(z_BZ).view(len(z_BZ), -1, self.grid.height, self.grid.width)
        # Float32 from here on: losses and pixels would lose bits that 8-bit images show.
        return crop(self.body(x_BCHW).float(), *self.size)


class Downward(nn.Module):
    """(B, channels_in, H, W) -> (B, features): strided convolutions, LeakyReLU, flattened."""

    def __init__(
        self, channels_in: int, height: int, width: int, *, channels: int, norm: Norm, spectral: bool = False
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        levels = grid_of(height, width).levels
        for level, wide in enumerate(reversed(widths_of(channels, levels))):
            layers.append(spectral_norm(nn.Conv2d(channels_in, wide, 4, stride=2, padding=1), spectral))
            # None after the first: with a norm on its input layer, training oscillated (section 3).
            layers += [norm_of(norm if level else "none", wide), nn.LeakyReLU(0.2)]
            channels_in, height, width = wide, height // 2, width // 2
        if levels == 1:
            layers.append(spectral_norm(nn.Conv2d(channels_in, 2 * channels_in, 3, padding=1), spectral))
            channels_in *= 2
            layers += [norm_of(norm, channels_in), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers)
        self.features = channels_in * height * width

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.body(x_BCHW).flatten(1)  # type: ignore[no-any-return]


def spectral_norm(layer: nn.Module, wanted: bool = True) -> nn.Module:
    """The layer with its weight divided by its largest singular value (arXiv 1802.05957, algorithm 1)."""
    return torch.nn.utils.parametrizations.spectral_norm(layer) if wanted else layer
