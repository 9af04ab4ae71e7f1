"""Small blocks that several networks share."""

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
