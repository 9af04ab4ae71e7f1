"""Images with known faults, for tests of metrics: digits themselves, and digits spoiled in one way."""

from functools import cache

import numpy as np

from image_cases import digits
from synthmill.metrics.lib.extractor import Extractor, make_extractor
from synthmill.metrics.lib.image_evidence import ImageEvidence, Images, ImageSettings

CLASSES = tuple(str(digit) for digit in range(10))


@cache
def sides() -> tuple[Images, Images, Images]:
    """Train, holdout and a third part of scikit-learn's digits, 599 each."""
    pixels, labels = digits()
    order = np.random.default_rng(0).permutation(len(pixels))
    train, holdout, other = (Images(pixels[index], labels[index]) for index in np.array_split(order, 3))
    return train, holdout, other


@cache
def extractor() -> Extractor:
    train = sides()[0]
    return make_extractor("auto", train.pixels, train.labels, 10, seed=0)


def evidence(synthetic: Images, **settings: object) -> ImageEvidence:
    train, holdout, _ = sides()
    return ImageEvidence(train, holdout, synthetic, CLASSES, extractor(), ImageSettings(**settings))  # type: ignore[arg-type]


def noisy(images: Images, strength: float) -> Images:
    noise = np.random.default_rng(1).normal(0.0, 255 * strength, images.pixels.shape)
    return Images(np.clip(images.pixels + noise, 0, 255).astype(np.uint8), images.labels)


def class_means(images: Images) -> Images:
    """Every image replaced by the mean of its class: collapse."""
    assert images.labels is not None
    means = np.stack([images.pixels[images.labels == digit].mean(0) for digit in range(10)])
    return Images(means[images.labels].astype(np.uint8), images.labels)


def without(images: Images, *digits_left_out: int) -> Images:
    """Some classes never appear."""
    return images.take(~np.isin(images.labels, digits_left_out))


def shuffled_labels(images: Images) -> Images:
    assert images.labels is not None
    return Images(images.pixels, np.random.default_rng(2).permutation(images.labels))
