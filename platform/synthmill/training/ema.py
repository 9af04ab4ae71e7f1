"""An exponential moving average of the weights, from the first step (last-iterate GAN statistics oscillate).

The decay grows with the number of updates, min(decay, (1 + t) / (10 + t)), so that early averages are not the initial weights.
"""

import copy

import torch

from synthmill.models.base import GenerativeModel
from synthmill.training.optim import FlatParameters

DECAY = 0.999


class Ema:
    """Holds `model`, a copy whose parameters are the averages. Its buffers are its own: `finish` refits them."""

    def __init__(self, model: GenerativeModel, decay: float = DECAY) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._flat = FlatParameters(self.model, gradients=False)
        self._decay = decay

    @torch.no_grad()
    def update(self, flat: FlatParameters, updates: int) -> None:
        """Take in the weights after `updates` (1, 2, ...) steps."""
        decay = min(self._decay, (1 + updates) / (10 + updates))
        self._flat.values.lerp_(flat.values, 1.0 - decay)
