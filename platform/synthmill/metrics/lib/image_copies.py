"""The near-copy test on images: equally many training and holdout images with a synthetic one too near."""

import hashlib
from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from synthmill.metrics.base import Result
from synthmill.metrics.lib.columns import Ints
from synthmill.metrics.lib.extractor import Features
from synthmill.metrics.lib.image_evidence import LEAST, ImageEvidence, ImageMetric, ImageSide
from synthmill.metrics.lib.neighbours import nearest
from synthmill.metrics.lib.singles import SinglePair
from synthmill.metrics.table.near_copy import copy_fields

SIDES: tuple[ImageSide, ...] = ("train", "holdout")
Points = Callable[[ImageSide, int | None], Features]


def copy_result(metric: ImageMetric, evidence: ImageEvidence, points: Points) -> Result:
    """The test in one space."""
    if few := metric.too_few(evidence):
        return few
    train_at, holdout_at = evidence.once(_singles)
    size = len(train_at)
    if size < LEAST:
        return metric.unavailable(f"only {size} images a side occur once; {LEAST} are needed", gate_n=size)
    train = points("train", int(train_at[-1]) + 1)[train_at]
    holdout = points("holdout", int(holdout_at[-1]) + 1)[holdout_at]
    # All of the sample: more synthetic images find more copies on both sides alike.
    synthetic = points("synthetic", len(evidence.sides["synthetic"]))
    # One neighbour is all that the test reads.
    pair = SinglePair(
        train, holdout, synthetic, nearest(train, synthetic)[0], nearest(holdout, synthetic)[0], pa.table({})
    )
    method = (
        "images that occur once, equal sides; exact hypergeometric test at 3 scales, Bonferroni; reference:"
        " a p-value's mean without copying"
    )
    return metric.named(evidence, method=method, **copy_fields(pair))


def _singles(evidence: ImageEvidence) -> tuple[Ints, Ints]:
    """Places, in the evidence's order, of train and holdout images that occur once in both together;
    equally many.

    The split keeps equal images on one side, so only for those that occur once is their side chance. How many
    synthetic images there are does not matter: a few copies are sought among all real images.
    """
    # Whole sides, not samples: a second copy outside the sample makes a row no single one.
    times = Counter(digest for side in SIDES for digest in _digests(evidence, side, whole=True))
    train, holdout = (
        np.flatnonzero([times[digest] == 1 for digest in _digests(evidence, side)]) for side in SIDES
    )
    size = min(len(train), len(holdout))
    return train[:size], holdout[:size]


def _digests(evidence: ImageEvidence, side: ImageSide, *, whole: bool = False) -> list[bytes]:
    images = evidence.sides[side] if whole else evidence.images(side, len(evidence.sides[side]))
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images.pixels]
