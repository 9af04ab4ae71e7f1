"""Pictures with known faults, for tests of metrics: digits themselves, and digits spoiled in one way."""

from functools import cache

import numpy as np

from pictures import digits
from synthmill.metrics._extractor import Extractor, make_extractor
from synthmill.metrics._pictures import PictureEvidence, Pictures, PictureSettings

CLASSES = tuple(str(digit) for digit in range(10))


@cache
def sides() -> tuple[Pictures, Pictures, Pictures]:
    """Train, holdout and a third part of scikit-learn's digits, 599 each."""
    pixels, labels = digits()
    order = np.random.default_rng(0).permutation(len(pixels))
    train, holdout, other = (Pictures(pixels[index], labels[index]) for index in np.array_split(order, 3))
    return train, holdout, other


@cache
def extractor() -> Extractor:
    train = sides()[0]
    return make_extractor("auto", train.pixels, train.labels, 10, seed=0)


def evidence(synthetic: Pictures, **settings: object) -> PictureEvidence:
    train, holdout, _ = sides()
    return PictureEvidence(train, holdout, synthetic, CLASSES, extractor(), PictureSettings(**settings))  # type: ignore[arg-type]


def noisy(pictures: Pictures, strength: float) -> Pictures:
    noise = np.random.default_rng(1).normal(0.0, 255 * strength, pictures.pixels.shape)
    return Pictures(np.clip(pictures.pixels + noise, 0, 255).astype(np.uint8), pictures.labels)


def class_means(pictures: Pictures) -> Pictures:
    """Every picture replaced by the mean of its class: collapse."""
    assert pictures.labels is not None
    means = np.stack([pictures.pixels[pictures.labels == digit].mean(0) for digit in range(10)])
    return Pictures(means[pictures.labels].astype(np.uint8), pictures.labels)


def without(pictures: Pictures, *digits_left_out: int) -> Pictures:
    """Some classes never appear."""
    return pictures.take(~np.isin(pictures.labels, digits_left_out))


def shuffled_labels(pictures: Pictures) -> Pictures:
    assert pictures.labels is not None
    return Pictures(pictures.pixels, np.random.default_rng(2).permutation(pictures.labels))
