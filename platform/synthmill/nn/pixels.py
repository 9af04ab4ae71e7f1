"""What every image network does with its input: bytes to [-1, 1], mirrors, and classes to one-hot.

Legend: B rows, C channels, H height, W width, K classes (0: unlabelled; a one-hot of width 0 then adds
nothing anywhere, so that no network asks whether there are classes).
"""

import torch
from torch import Tensor


def unit(pixels_BCHW: Tensor) -> Tensor:
    """uint8 to float32 in [-1, 1]; floats are in that range already."""
    if pixels_BCHW.dtype == torch.uint8:
        return pixels_BCHW.float().mul(1.0 / 127.5).sub(1.0)
    return pixels_BCHW


def mirror(x_BCHW: Tensor, uniform_B: Tensor) -> Tensor:
    """Rows with a number below 1/2 are mirrored left to right."""
    return torch.where((uniform_B < 0.5).view(-1, 1, 1, 1), x_BCHW.flip(3), x_BCHW)


def one_hot(label_B: Tensor, classes: int) -> Tensor:
    """float32 (B, K)."""
    return (label_B.unsqueeze(1) == torch.arange(classes, device=label_B.device)).float()


def conditional_score(score_BK1: Tensor, y_BK: Tensor) -> Tensor:
    """psi(h) + <y, V h> (arXiv 1802.05637, equation 3) from a linear layer's 1 + K outputs: float32 (B,)."""
    score_BK1 = score_BK1.float()
    return score_BK1[:, 0] + (score_BK1[:, 1:] * y_BK).sum(1)
