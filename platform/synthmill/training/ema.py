"""An exponential moving average of the weights, from the first steps (last-iterate GAN statistics oscillate).

Taken every few steps, with the decay of as many. The decay grows with the number of steps, min(decay, (1 + t)
/ (10 + t)), so that early averages are not the initial weights.
"""

import copy

import torch
from torch import Tensor

from synthmill.models.base import GenerativeModel
from synthmill.training.optim import flatten

DECAY = 0.999
"""A step's weights count half after 693 steps."""
EVERY_STEPS = 4


class Ema:
    """Holds `model`, a copy whose parameters are the averages. Its buffers are its own: `finish` refits
    them."""

    def __init__(self, model: GenerativeModel, half_life_steps: float | None = None) -> None:
        # Not 0.5 ** (1 / 693): the usual decay, to the bit, unless a recipe says otherwise.
        self._decay = DECAY if half_life_steps is None else 0.5 ** (1 / half_life_steps)
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._average = flatten(self.model)
        self._seen = {name: buffer.clone() for name, buffer in model.named_buffers()}

    @torch.no_grad()
    def update(self, weights: Tensor, steps: int) -> None:
        """Take in the flat `weights` after `steps` (1, 2, ...) steps."""
        covered = 1 if steps <= EVERY_STEPS else EVERY_STEPS
        # The average moves slowly, and a pass over all weights costs memory bandwidth.
        if steps % covered == 0:
            decay = min(self._decay, (1 + steps) / (10 + steps)) ** covered
            self._average.lerp_(weights, 1.0 - decay)

    @torch.no_grad()
    def copy_buffers(self, model: GenerativeModel) -> None:
        """Take over what training changed and is not averaged (how far a growing network has grown); `finish`
        refits the rest."""
        own = dict(self.model.named_buffers())
        for name, buffer in model.named_buffers():
            # Only what changed: a buffer that `finish` refitted must not fall back to the initial one.
            if not torch.equal(buffer, self._seen[name]):
                own[name].copy_(buffer)
                self._seen[name].copy_(buffer)
