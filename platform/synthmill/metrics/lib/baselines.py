"""The arms of an augmentation experiment: nothing, synthetic rows, and what these must beat.

A baseline is a cheap way to train on more rows, or differently, without a generator. Each takes labelled
training rows and returns the rows to add (or weights); pure functions of their seed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from synthmill.metrics.lib.columns import Floats
from synthmill.metrics.lib.learners import Features, Labelled
from synthmill.metrics.lib.neighbours import nearest

POOL_ROWS = 5_000
K = 5
NOTHING, SYNTHETIC, MORE_REAL = "nothing", "synthetic", "more real rows"


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
    recipes = {
        NOTHING: Recipe(train),
        SYNTHETIC: Recipe(train.plus(fake)),
        "duplicated rows": Recipe(train.plus(duplicated(train, rows, rng))),
        "interpolation": Recipe(train.plus(interpolated(train, rows, rng, features))),
        "shuffled marginals": Recipe(train.plus(shuffled_marginals(train, rows, rng))),
    }
    if features.task != "regression":
        recipes["class weights"] = Recipe(train, balanced_weights(train))
    if more is not None and len(more):
        recipes[MORE_REAL] = Recipe(train.plus(more))
    return recipes


def duplicated(train: Labelled, rows: int, rng: np.random.Generator) -> Labelled:
    """Training rows drawn with replacement."""
    picked = rng.integers(len(train), size=rows)
    return Labelled(train.x[picked], train.y[picked])


def shuffled_marginals(train: Labelled, rows: int, rng: np.random.Generator) -> Labelled:
    """Every column, and the target, drawn on its own: right marginals, no dependence. A negative control."""
    x = np.stack([train.x[rng.integers(len(train), size=rows), j] for j in range(train.x.shape[1])], axis=1)
    return Labelled(x, train.y[rng.integers(len(train), size=rows)])


def interpolated(train: Labelled, rows: int, rng: np.random.Generator, features: Features) -> Labelled:
    """Between a row and one of its 5 nearest of the same class (SMOTE-NC, Chawla et al. 2002): numbers at a
    random point between, categories from either."""
    picked = rng.integers(len(train), size=rows)
    partner = np.empty(rows, dtype=np.int64)
    dense = features.dense(train.x)
    groups: Any = (
        [np.arange(len(train))]
        if features.task == "regression"
        else [np.flatnonzero(train.y == c) for c in np.unique(train.y)]
    )
    # Neighbours of one class only, or the new row would have no class of its own.
    for members in groups:
        # Bounded, as the search grows with the square of the rows.
        pool = members if len(members) <= POOL_ROWS else rng.choice(members, POOL_ROWS, replace=False)
        places = np.flatnonzero(np.isin(picked, members))
        k = min(K + 1, len(pool))
        near = nearest(dense[picked[places]], dense[pool], k)[1]
        # The nearest is the row itself, unless it is the only one of its class.
        chosen = rng.integers(min(1, k - 1), k, size=len(places))
        partner[places] = pool[near[np.arange(len(places)), chosen]]
    share = rng.random((rows, 1))
    a, b = train.x[picked], train.x[partner]
    # A missing number has nothing to go half-way to.
    between = np.where(np.isnan(a) | np.isnan(b), a, a + share * (b - a))
    x = np.where(features.categorical, np.where(rng.random(a.shape) < 0.5, a, b), between)
    if features.task != "regression":
        return Labelled(x, train.y[picked])
    return Labelled(x, train.y[picked] + share[:, 0] * (train.y[partner] - train.y[picked]))


def balanced_weights(train: Labelled) -> Floats:
    """(N,): weights that give every class the same total."""
    classes, where, counts = np.unique(train.y, return_inverse=True, return_counts=True)
    # The cheapest remedy for rare classes: no row is added at all.
    return np.asarray(len(train) / (len(classes) * counts[where]), dtype=np.float64)
