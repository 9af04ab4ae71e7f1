"""Small blocks that several networks share."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def perceptron(inputs: int, hidden: tuple[int, ...]) -> tuple[nn.Sequential, int]:
    """Linear and ReLU per hidden width; returns it and the width of its output."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers), inputs


class Residual(nn.Module):
    """x -> [relu(batch_norm(linear(x))), x], the generator block of arXiv 1907.00503, section 4.4."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x_BF: Tensor) -> Tensor:
        return torch.cat([torch.relu(self.norm(self.linear(x_BF))), x_BF], 1)


def refit_norms(network: nn.Module, forward: Callable[[int], None], batches: int) -> None:
    """Recompute the running statistics of every BatchNorm in `network` as plain means over calls of `forward` (0, 1, ...)."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for number in range(batches if norms else 0):
        forward(number)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
