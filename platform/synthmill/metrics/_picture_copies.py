"""The near-copy test on pictures: training and holdout pictures, equal numbers, that have a synthetic one too near."""

from collections.abc import Callable

import pyarrow as pa

from synthmill.metrics._extractor import Features
from synthmill.metrics._neighbours import nearest
from synthmill.metrics._pictures import PictureEvidence, PictureMetric, PictureSide
from synthmill.metrics._singles import SinglePair
from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.near_copy import near_copies

Points = Callable[[PictureSide, int | None], Features]


def copy_result(metric: PictureMetric, evidence: PictureEvidence, points: Points) -> Result:
    """The test in one space. All kept synthetic pictures enter: more of them find more copies on both sides alike."""
    if few := metric.too_few(evidence):
        return few
    train, holdout, synthetic = points("train", None), points("holdout", None), points("synthetic", len(evidence.sides["synthetic"]))
    pair = SinglePair(train, holdout, synthetic, nearest(train, synthetic)[0], nearest(holdout, synthetic)[0], pa.table({}))
    found = near_copies(pair)
    a, b = found.counts[found.best]
    size = evidence.size
    return metric.named(
        evidence,
        value=found.p,
        reference=0.5,
        n={"train": size, "holdout": size, "synthetic": len(synthetic)},
        method="equal sides; exact hypergeometric test at 3 scales, Bonferroni; reference: a p-value's mean without copying",
        aspects={
            "ratio": Estimate(value=(a + 0.5) / (b + 0.5), reference=1.0),
            "train_share": Estimate(value=a / size, reference=b / size),
        },
        details={"scales": found.rows()},
    )
