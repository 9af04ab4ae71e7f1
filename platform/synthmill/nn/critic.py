"""A multilayer perceptron critic whose input gradient is an explicit product of matrices.

With leaky ReLU and dropout the score is linear in x where the pattern of slopes is constant, so
d score / d x = w_out S_n W_n ... S_1 W_1 with S_i the slopes of layer i. Writing that product out gives the gradient penalty of
arXiv 1704.00028 (equation 3) an ordinary backward pass: no double backward, and the same gradient.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAK = 0.2
DROPOUT = 0.5


class Critic(nn.Module):
    """Linear, leaky ReLU and dropout per hidden width, then one score. Legend: R rows, I inputs, H hidden units."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], dropout: float = DROPOUT) -> None:
        super().__init__()
        widths = (inputs, *hidden)
        pairs = itertools.pairwise(widths)
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairs)
        self.out = nn.Linear(widths[-1], 1)
        self.dropout = dropout

    def forward(self, x_RI: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores, float32 (R,), and the slopes (R, H) of every layer, without gradient."""
        slopes: list[Tensor] = []
        for layer in self.layers:
            before_RH = layer(x_RI)
            slope_RH = self._slopes(before_RH.detach())
            slopes.append(slope_RH)
            x_RI = before_RH * slope_RH
        return self.out(x_RI).float().squeeze(1), slopes

    def input_gradient(self, slopes: list[Tensor]) -> Tensor:
        """d score / d x for rows with these slopes, (R, I); differentiable in the weights."""
        weights = [layer.weight for layer in self.layers if isinstance(layer, nn.Linear)]
        gradient_RH = self.out.weight * slopes[-1]
        for weight, slope_RH in zip(weights[:0:-1], slopes[-2::-1], strict=True):
            gradient_RH = functional.linear(gradient_RH, weight.T) * slope_RH
        return functional.linear(gradient_RH, weights[0].T)

    def _slopes(self, before_RH: Tensor) -> Tensor:
        slope_RH = torch.where(before_RH > 0, 1.0, LEAK).to(before_RH.dtype)
        return functional.dropout(slope_RH, self.dropout, training=self.training)


def gradient_penalty(gradient_RI: Tensor) -> Tensor:
    """(|d score / d x|_2 - 1)^2 per row, float32 (R,)."""
    return (gradient_RI.float().square().sum(1).add(1e-12).sqrt() - 1.0).square()
