"""What every image network does with its input: bytes to [-1, 1], mirrors, classes to one-hot, and noise for a published average.

Legend: B rows, C channels, H height, W width, K classes (0: unlabelled, and a one-hot of width 0 is harmless everywhere).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def unit(pixels_BCHW: Tensor) -> Tensor:
    """uint8 to float32 in [-1, 1]; floats as they are."""
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


def refit_batch_norm(module: nn.Module, passes: Iterator[Callable[[], object]]) -> None:
    """Replace BatchNorm's running statistics by their averages over `passes`, each a forward pass of `module`.

    Weights that are averages over training have other statistics than any one step saw (arXiv 1803.05407, section 3.2).
    """
    norms = [norm for norm in module.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    with _training(module, norms):
        for forward in passes:
            forward()


@contextmanager
def _training(module: nn.Module, norms: list[nn.modules.batchnorm._BatchNorm]) -> Iterator[None]:
    before = [(norm.momentum, norm.training) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    try:
        yield
    finally:
        for norm, (momentum, training) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.train(training)
