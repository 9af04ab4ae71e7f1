"""A multilayer perceptron critic whose input gradient is an explicit product of matrices.

With leaky ReLU and dropout the score is linear in x where the pattern of slopes is constant, so
d score / d x = w_out S_n W_n ... S_1 W_1 with S_i the slopes of layer i. Writing that product out gives the
gradient penalty of arXiv 1704.00028 (equation 3) an ordinary backward pass: no double backward, and the same
gradient. Legend: R rows, I inputs, H hidden units, P rows side by side (pac), C condition columns.
"""

import itertools

import torch
from torch import Tensor, nn

from synthmill.nn.blocks import ConditionEmbedding

LEAK = 0.2
DROPOUT = 0.5


class Critic(nn.Module):
    """Linear, leaky ReLU and dropout per hidden width, then one score.

    Conditions are one-hot inputs of the first layer, looked up instead of multiplied.
    """

    def __init__(
        self, inputs: int, conditions: int, hidden: tuple[int, ...], dropout: float = DROPOUT
    ) -> None:
        super().__init__()
        assert hidden, "a critic needs a hidden layer"
        self.first = nn.Linear(inputs, hidden[0])
        self.given = ConditionEmbedding(conditions, hidden[0], fan_in=inputs + conditions)
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in itertools.pairwise(hidden))
        self.out = nn.Linear(hidden[-1], 1)
        self.dropout = dropout

    def project(self, x_RI: Tensor) -> Tensor:
        """What the first layer makes of x, without its condition, (R, H); linear in x."""
        before_RH: Tensor = self.first(x_RI)
        return before_RH

    def forward(self, before_RH: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores, float32 (R,), and each layer's slopes (R, H), which carry no gradient."""
        slopes = [self._slopes(before_RH)]
        for layer in self.layers:
            before_RH = layer(before_RH * slopes[-1])
            slopes.append(self._slopes(before_RH))
        return self.out(before_RH * slopes[-1]).float().squeeze(1), slopes

    def input_gradient(self, slopes: list[Tensor]) -> Tensor:
        """d score / d x for rows with these slopes, (R, I); differentiable in the weights."""
        gradient_RH = self.out.weight * slopes[-1]
        for layer, slope_RH in zip(reversed(self.layers), slopes[-2::-1], strict=True):
            assert isinstance(layer, nn.Linear)
            gradient_RH = torch.mm(gradient_RH, layer.weight) * slope_RH
        return torch.mm(gradient_RH, self.first.weight)

    # Without gradient: slopes are constant in x, and `input_gradient` reads them as constants.
    @torch.no_grad()
    def _slopes(self, before_RH: Tensor) -> Tensor:
        """1 or LEAK by sign; in training 0 for dropped units and 1 / (1 - dropout) as much for the others."""
        dropout = self.dropout if self.training else 0.0
        slope_RH = torch.where(before_RH > 0, 1.0 / (1.0 - dropout), LEAK / (1.0 - dropout))
        if dropout > 0:
            slope_RH.mul_(torch.rand(before_RH.shape, device=before_RH.device) >= dropout)
        return slope_RH.to(before_RH.dtype)


def gradient_penalty(gradient_RI: Tensor) -> Tensor:
    """(|d score / d x|_2 - 1)^2 per row, float32 (R,)."""
    # The root's own gradient at 0 is infinite.
    return (gradient_RI.float().square().sum(1).add(1e-12).sqrt() - 1.0).square()
