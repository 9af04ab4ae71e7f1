"""DiffAugment: the same random, differentiable changes to real and generated images (arXiv 2006.10738, 3.3).

A discriminator with little data then can't learn the data by heart.

Legend: B rows, C channels, H height, W width.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Policy = Literal["brightness", "contrast", "translation", "cutout"]
NUMBERS = 6
"""Uniform numbers that one row needs."""
TRANSLATION, CUTOUT = 0.125, 0.5
"""Largest shift, and side of the hole, as shares of the image's sides."""


def diff_augment(x_BCHW: Tensor, policy: tuple[Policy, ...], uniform_B6: Tensor) -> Tensor:
    """The policy's changes, made with these numbers in [0, 1)."""
    # Each change has its own columns, so that adding one to the policy leaves the numbers of the others.
    u = uniform_B6.to(x_BCHW.dtype)
    if "brightness" in policy:
        x_BCHW = x_BCHW + (u[:, 0] - 0.5).view(-1, 1, 1, 1)
    if "contrast" in policy:
        mean_B111 = x_BCHW.mean((1, 2, 3), keepdim=True)
        x_BCHW = (x_BCHW - mean_B111) * (u[:, 1] + 0.5).view(-1, 1, 1, 1) + mean_B111
    if "translation" in policy:
        x_BCHW = _translate(x_BCHW, u[:, 2:4])
    if "cutout" in policy:
        x_BCHW = x_BCHW * _holes(x_BCHW, u[:, 4:6])
    return x_BCHW


def _translate(x_BCHW: Tensor, u_B2: Tensor) -> Tensor:
    """Shift by whole pixels; background (-1) moves in from outside."""
    height, width = x_BCHW.shape[2:]
    down, right = (max(1, round(side * TRANSLATION)) for side in (height, width))
    # Clamped: in bf16 a number just below 1 rounds to 1.
    shift_y = (u_B2[:, 0] * (2 * down + 1)).long().clamp_max(2 * down)
    shift_x = (u_B2[:, 1] * (2 * right + 1)).long().clamp_max(2 * right)
    padded = functional.pad(x_BCHW, (right, right, down, down), value=-1.0)
    rows = torch.arange(height, device=x_BCHW.device) + shift_y.unsqueeze(1)
    columns = torch.arange(width, device=x_BCHW.device) + shift_x.unsqueeze(1)
    # One gather with an index for each row: `roll` and slicing would need a loop over the batch.
    each = torch.arange(len(x_BCHW), device=x_BCHW.device).view(-1, 1, 1)
    return padded.permute(0, 2, 3, 1)[each, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)


def _holes(x_BCHW: Tensor, u_B2: Tensor) -> Tensor:
    """(B, 1, H, W): 0 in a rectangle with its centre anywhere, 1 elsewhere."""
    height, width = x_BCHW.shape[2:]
    inside = []
    for side, u_B in ((height, u_B2[:, 0]), (width, u_B2[:, 1])):
        place = torch.arange(side, device=x_BCHW.device, dtype=x_BCHW.dtype)
        inside.append((place - (u_B * side).unsqueeze(1) + 0.5).abs() <= side * CUTOUT / 2)
    return 1.0 - (inside[0].unsqueeze(2) & inside[1].unsqueeze(1)).unsqueeze(1).to(x_BCHW.dtype)
