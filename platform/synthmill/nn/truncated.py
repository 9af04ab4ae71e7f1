"""The logistic distribution truncated to [-1, 1]: closed-form density and sampling, uniform at a wide scale.

F(x) = sigmoid((x - mean) / scale); p(x) = F'(x) / (F(1) - F(-1)) on [-1, 1].
"""

import torch
from torch import Tensor
from torch.nn import functional

SMALLEST = 1e-6  # Keeps log and logit finite in float32 where nearly all mass lies outside [-1, 1].


def negative_log_density(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """-log p(x), elementwise; x in [-1, 1], `mean` in [-1, 1]."""
    inverse = torch.exp(-log_scale)
    z = (x - mean) * inverse
    mass = torch.sigmoid((1 - mean) * inverse) - torch.sigmoid((-1 - mean) * inverse)
    # -log F'(z) = softplus(z) + softplus(-z), stable for large |z| of either sign.
    return log_scale + functional.softplus(z) + functional.softplus(-z) + torch.log(mass.clamp_min(SMALLEST))


def sample(uniform: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """The value in [-1, 1] at quantile `uniform` (in [0, 1))."""
    scale = torch.exp(log_scale)
    low, high = torch.sigmoid((-1 - mean) / scale), torch.sigmoid((1 - mean) / scale)
    level = torch.lerp(low, high, uniform).clamp(SMALLEST, 1 - SMALLEST)
    return (mean + scale * torch.logit(level)).clamp(-1.0, 1.0)
