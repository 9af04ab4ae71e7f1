"""Small blocks that several networks share.

Legend: B rows, F features, C condition columns, G conditions of one row.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


def perceptron(inputs: int, hidden: tuple[int, ...]) -> tuple[nn.Sequential, int]:
    """Linear and ReLU per hidden width; returns it and the width of its output."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers), inputs


def compute_dtype(device: torch.device) -> torch.dtype:
    """The type in which matrix products compute here and now: that of `autocast`, or float32."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else torch.float32


class ConditionEmbedding(nn.Module):
    """The part of a linear layer that reads one-hot conditions: a sum of looked-up columns instead of a
    product with zeros and ones.

    `fan_in` is the number of inputs of the whole layer; weights start as that layer's would.
    """

    def __init__(self, columns: int, width: int, *, fan_in: int) -> None:
        super().__init__()
        bound = fan_in**-0.5  # As `nn.Linear` starts.
        self.weight = nn.Parameter(torch.empty(columns, width).uniform_(-bound, bound)) if columns else None

    def forward(self, layer_BF: Tensor, columns_BG: Tensor) -> Tensor:
        """Adds the weights of the columns that are one, int64 (B, G), to the layer's sums."""
        if self.weight is None:
            return layer_BF
        chosen_BGF = functional.embedding(columns_BG, self.weight)
        # A sum over one element copies the tensor.
        chosen_BF = chosen_BGF.squeeze(1) if columns_BG.shape[1] == 1 else chosen_BGF.sum(1)
        return layer_BF + chosen_BF.to(layer_BF.dtype)


class Residual(nn.Module):
    """x -> [relu(batch_norm(linear(x, condition))), x], the generator block of arXiv 1907.00503, 4.4."""

    def __init__(self, inputs: int, conditions: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, width)
        self.given = ConditionEmbedding(conditions, width, fan_in=inputs + conditions)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x_BF: Tensor, columns_BG: Tensor) -> Tensor:
        return torch.cat([torch.relu(self.norm(self.given(self.linear(x_BF), columns_BG))), x_BF], 1)


def refit_norms(network: nn.Module, forward: Callable[[int], None], batches: int) -> None:
    """Recompute every BatchNorm's running statistics as means over calls of `forward(0)`, `forward(1)`, ...

    Averaged weights need it: the statistics that training saw belong to the weights of each step.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # A cumulative mean, which weighs every batch alike.
        norm.train()
    for number in range(batches if norms else 0):
        forward(number)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
