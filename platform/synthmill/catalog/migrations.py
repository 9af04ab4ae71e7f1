"""Weights that earlier versions did not save: the value that each has in an artifact without it.

One table for all models, so that a model's file knows only its present form.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


def _unchanged(initial: Tensor) -> Tensor:
    return initial


MISSING: dict[tuple[str, str], Callable[[Tensor], Tensor]] = {
    # The class entered the mapping at the length of one; later it is as long as the noise.
    ("style_gan", "mapping.class_size"): torch.ones_like,
    # Latents were drawn from the standard normal prior; later from densities fitted to each class.
    ("vae", "prior_mean_KL"): _unchanged,
    ("vae", "prior_factor_KLL"): _unchanged,
    ("beta_vae", "prior_mean_KL"): _unchanged,
    ("beta_vae", "prior_factor_KLL"): _unchanged,
    # The context stood at the first position alone; later it is added at each.
    ("vq_vae", "prior.given.weight"): torch.zeros_like,
}
"""(model, weight) -> its value, from the initial one of a fresh model."""


def migrate(model: str, weights: Mapping[str, Tensor], initial: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An artifact's `weights` and those that its version did not save; `initial` is a fresh model's state."""
    filled = {
        name: value(initial[name])
        for (owner, name), value in MISSING.items()
        if owner == model and name in initial and name not in weights
    }
    return {**weights, **filled}
