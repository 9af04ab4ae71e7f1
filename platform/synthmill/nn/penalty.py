"""Gradient penalties of a discriminator, and losses that several GANs share; per row, float32 (B,)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def gradient_norm_squared(score: Callable[[Tensor], Tensor], x_BCHW: Tensor) -> Tensor:
    """|d score / d x|^2 of each row, differentiable."""
    x_BCHW = x_BCHW.detach().requires_grad_(True)
    # Rows are independent, so the gradient of the sum holds each row's own.
    with torch.enable_grad():
        total = score(x_BCHW).float().sum()
        (gradient_BCHW,) = torch.autograd.grad(total, x_BCHW, create_graph=True)
    return gradient_BCHW.float().square().flatten(1).sum(1)


def r1(score: Callable[[Tensor], Tensor], real_BCHW: Tensor, gamma: float) -> Tensor:
    """gamma / 2 |grad D(x)|^2 on real rows (arXiv 1801.04406, equation 9)."""
    return 0.5 * gamma * gradient_norm_squared(score, real_BCHW)


def wasserstein_penalty(
    score: Callable[[Tensor], Tensor], real_BCHW: Tensor, fake_BCHW: Tensor, uniform_B: Tensor, weight: float
) -> Tensor:
    """lambda (|grad D(x^)| - 1)^2 on rows between real and fake ones (arXiv 1704.00028, algorithm 1)."""
    # A point on the line between each pair of rows; the paper gives the same number to all pixels.
    share = uniform_B.view(-1, *[1] * (real_BCHW.dim() - 1))
    between = real_BCHW + share * (fake_BCHW - real_BCHW)
    # The root's own gradient at 0 is infinite.
    norm_B = (gradient_norm_squared(score, between) + 1e-12).sqrt()
    return weight * (norm_B - 1.0).square()


def discriminator_terms(real_B: Tensor, fake_B: Tensor) -> dict[str, Tensor]:
    """-log D(x) and -log(1 - D(G(z))) from logits (arXiv 1406.2661, equation 1)."""
    return {
        "real": functional.softplus(-real_B),
        "fake": functional.softplus(fake_B),
        "log_accuracy": 0.5 * ((real_B > 0).float() + (fake_B < 0).float()),
    }


def generator_term(fake_B: Tensor) -> Tensor:
    """-log D(G(z)), the loss that does not saturate (arXiv 1406.2661, section 3)."""
    return functional.softplus(-fake_B)
