"""Layers with an equalized learning rate, pixel norm and minibatch statistics (arXiv 1710.10196, 3 and 4).

Legend: B rows, C channels, G rows of a group.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUP = 4
"""Rows whose spread one statistic covers; a batch is a multiple of it."""
GAIN = math.sqrt(2.0)
"""Keeps the variance (nearly) through a LeakyReLU, which halves it."""


class EqualLinear(nn.Module):
    """A linear layer with N(0, 1) / rate weights, scaled by He's constant at run time (section 4.1).

    Adam's step does not depend on a gradient's size, so the scale decides how fast a layer learns.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale = rate / math.sqrt(inputs)
        self.rate = rate

    def forward(self, x_BF: Tensor) -> Tensor:
        return functional.linear(x_BF, self.weight * self.scale, self.bias * self.rate)


class EqualConv(nn.Module):
    """A convolution of odd width with an equalized learning rate; same size out, or half of it.

    Halving takes the mean of each two by two results (figure 2) inside the convolution, whose weights then
    are means of shifted ones.
    """

    def __init__(self, inputs: int, outputs: int, width: int = 3, *, halves: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, width, width))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = 1.0 / math.sqrt(inputs * width * width)
        self.padding = width // 2
        self.stride = 2 if halves else 1

    def forward(self, x_BCHW: Tensor, gain: float = 1.0) -> Tensor:
        """The result times `gain`."""
        # Gain and mean of pixels go into the weights, of which there are far fewer than activations: the
        # means alone, as an operation of their own, took 14% of a style_gan step on CPUs.
        weight, bias = self.weight * (self.scale * gain), self.bias if gain == 1.0 else self.bias * gain
        if self.stride == 2:
            weight = _shifted_mean(_shifted_mean(weight, 2), 3)
        return functional.conv2d(x_BCHW, weight, bias, stride=self.stride, padding=self.padding)


def _shifted_mean(weight: Tensor, dim: int) -> Tensor:
    """One longer along `dim`: the mean of the weights and of the weights shifted by one."""
    zero = torch.zeros_like(weight.narrow(dim, 0, 1))
    return 0.5 * (torch.cat([weight, zero], dim) + torch.cat([zero, weight], dim))


def pixel_norm(x: Tensor) -> Tensor:
    """Each pixel's (or row's) features scaled to mean square 1 over axis 1 (section 4.2)."""
    return x * torch.rsqrt(x.float().square().mean(1, keepdim=True) + 1e-8).to(x.dtype)


def with_spread(x_BCHW: Tensor) -> Tensor:
    """One more channel, the mean over features of the standard deviation in groups of rows (section 3).

    It shows a discriminator when generated images lack variety.
    """
    rows, channels, height, width = x_BCHW.shape
    # A batch that is no multiple of the group counts as one group.
    size = GROUP if rows % GROUP == 0 else rows
    groups = x_BCHW.float().reshape(-1, size, channels, height, width)
    variance = (groups - groups.mean(1, keepdim=True)).square().mean(1)
    spread_G = (variance + 1e-8).sqrt().mean((1, 2, 3))
    channel = spread_G.repeat_interleave(size).view(rows, 1, 1, 1).expand(rows, 1, height, width)
    return torch.cat([x_BCHW, channel.to(x_BCHW.dtype)], 1)


def gain(x: Tensor) -> Tensor:
    """LeakyReLU scaled so that variance stays."""
    return functional.leaky_relu(x, 0.2) * GAIN


def activated(convolution: nn.Module, x_BCHW: Tensor) -> Tensor:
    """`gain(convolution(x))` of an EqualConv, scaled in its weights."""
    return functional.leaky_relu(convolution(x_BCHW, GAIN), 0.2)


def pad_to(x_BCHW: Tensor, height: int, width: int) -> Tensor:
    """The image in the middle of a larger one, its edge repeated; the inverse of `convolution.crop`."""
    top, left = (height - x_BCHW.shape[2]) // 2, (width - x_BCHW.shape[3]) // 2
    if height == x_BCHW.shape[2] and width == x_BCHW.shape[3]:
        return x_BCHW
    return functional.pad(
        x_BCHW, (left, width - x_BCHW.shape[3] - left, top, height - x_BCHW.shape[2] - top), mode="replicate"
    )
