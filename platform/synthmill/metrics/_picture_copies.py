"""The near-copy test on pictures: training and holdout pictures, equal numbers, that have a synthetic one too near."""

import hashlib
from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from synthmill.metrics._columns import Ints
from synthmill.metrics._extractor import Features
from synthmill.metrics._neighbours import nearest
from synthmill.metrics._pictures import LEAST, PictureEvidence, PictureMetric, PictureSide
from synthmill.metrics._singles import SinglePair
from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.near_copy import near_copies

Points = Callable[[PictureSide, int | None], Features]


def copy_result(metric: PictureMetric, evidence: PictureEvidence, points: Points) -> Result:
    """The test in one space. All kept synthetic pictures enter: more of them find more copies on both sides alike."""
    if few := metric.too_few(evidence):
        return few
    mine, held = _singles(evidence)
    size = len(mine)
    if size < LEAST:
        return metric.missing("unavailable", f"only {size} pictures a side occur once; {LEAST} are needed", gate_n=size)
    train, holdout = points("train", int(mine[-1]) + 1)[mine], points("holdout", int(held[-1]) + 1)[held]
    synthetic = points("synthetic", len(evidence.sides["synthetic"]))
    pair = SinglePair(train, holdout, synthetic, nearest(train, synthetic)[0], nearest(holdout, synthetic)[0], pa.table({}))
    found = near_copies(pair)
    a, b = found.counts[found.best]
    return metric.named(
        evidence,
        value=found.p,
        reference=0.5,
        n={"train": size, "holdout": size, "synthetic": len(synthetic)},
        gate_n=min(size, len(synthetic)),
        method="pictures that occur once, equal sides; exact hypergeometric test at 3 scales, Bonferroni; "
        "reference: a p-value's mean without copying",
        aspects={
            "ratio": Estimate(value=(a + 0.5) / (b + 0.5), reference=1.0),
            "train_share": Estimate(value=a / size, reference=b / size),
        },
        details={"scales": found.rows()},
    )


def _singles(evidence: PictureEvidence) -> tuple[Ints, Ints]:
    """Where, in the evidence's order, train and holdout pictures stand that occur once in both together; equally many.

    The split keeps equal pictures on one side, so only for those that occur once is their side chance. How many synthetic
    pictures there are does not matter: a few copies are sought among all real pictures.
    """
    if "singles" not in evidence.cache:
        times = Counter(digest for side in ("train", "holdout") for digest in _digests(evidence, side, whole=True))
        kept = [np.flatnonzero([times[digest] == 1 for digest in _digests(evidence, side)]) for side in ("train", "holdout")]
        size = min(len(index) for index in kept)
        evidence.cache["singles"] = (kept[0][:size], kept[1][:size])
    found: tuple[Ints, Ints] = evidence.cache["singles"]
    return found


def _digests(evidence: PictureEvidence, side: PictureSide, *, whole: bool = False) -> list[bytes]:
    pictures = evidence.sides[side] if whole else evidence.pictures(side, len(evidence.sides[side]))
    return [hashlib.blake2b(picture.tobytes(), digest_size=16).digest() for picture in pictures.pixels]
