"""The arms of an augmentation experiment: nothing, synthetic rows, and the baselines they must beat."""

from dataclasses import dataclass

import numpy as np

from synthmill.metrics.lib.baselines import balanced_weights, duplicated, interpolated, shuffled_marginals
from synthmill.metrics.lib.columns import Floats
from synthmill.metrics.lib.learners import Features, Labelled

NOTHING, SYNTHETIC, MORE_REAL = "nothing", "synthetic", "more real rows"
BASELINES = ("duplicated rows", "class weights", "interpolation", "shuffled marginals")


@dataclass(frozen=True)
class Recipe:
    """What one arm trains on."""

    train: Labelled
    weights: Floats | None = None


def arms(
    features: Features, train: Labelled, fake: Labelled, seed: int, more: Labelled | None = None
) -> dict[str, Recipe]:
    """Every arm by name; baselines add as many rows as there are synthetic ones."""
    rng, rows = np.random.default_rng([seed & 0xFFFFFFFF, 77]), len(fake)
    found = {
        NOTHING: Recipe(train),
        SYNTHETIC: Recipe(train.plus(fake)),
        "duplicated rows": Recipe(train.plus(duplicated(train, rows, rng))),
        "interpolation": Recipe(train.plus(interpolated(train, rows, rng, features))),
        "shuffled marginals": Recipe(train.plus(shuffled_marginals(train, rows, rng))),
    }
    if features.task != "regression":
        found["class weights"] = Recipe(train, balanced_weights(train))
    if more is not None and len(more):
        found[MORE_REAL] = Recipe(train.plus(more))
    return found
