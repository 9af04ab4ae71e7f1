"""Can a classifier tell synthetic rows from real ones, and by which columns?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from synthmill.metrics.base import Estimate, Result
from synthmill.metrics.lib.columns import Bools, Floats
from synthmill.metrics.lib.intervals import auc, normal_interval
from synthmill.metrics.lib.learners import without_empty
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric

FOLDS = 5
MIN_ROWS = 50
IMPORTANCE_ROWS = 5_000


class ClassifierTest(TableMetric):
    """Cross-validated ROC AUC of gradient-boosted trees, real (train and holdout) against synthetic (arXiv
    1610.06545).

    0.5 is indistinguishable. Very sensitive: above 0.9 is common in useful data, one rounding artefact is
    enough, so gates only warn. `per_column` is how much AUC is lost when a column is shuffled: the columns
    that give it away.
    """

    name = "fidelity.c2st_auc"
    title = "Real or synthetic? (classifier)"
    question = "Can a classifier tell synthetic rows from real ones?"
    axis = "fidelity"
    goal = "target"
    target = 0.5
    bounds = (0.0, 1.0)
    advice = (
        "A classifier tells the rows apart. Look at the columns listed first: rounding, impossible"
        " combinations and point masses usually explain most of it."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        features, limit = evidence.real.all_features, evidence.settings.limits.classifier_rows
        if not features.columns:
            return self.unavailable("the table has only identifier columns")
        real = train = features.matrix(evidence.table("train", limit))
        holdout = None
        if evidence.real.holdout is not None:
            holdout = features.matrix(evidence.table("holdout", limit))
            # Holdout rows first: where the limit cuts, training rows go, which the generator may have copied.
            real = np.concatenate([holdout, train])[: limit or None]
        fake = features.matrix(evidence.table("synthetic", limit))
        # Equal sides: chance is then an accuracy and a pMSE centre of one half.
        size = min(len(real), len(fake))
        if size < MIN_ROWS:
            return self.unavailable(
                f"{size} rows a side are too few to train a classifier; {MIN_ROWS} are needed"
            )
        rng = evidence.rng(10)
        real = real[rng.permutation(len(real))[:size]]
        verdict = _versus(evidence, real, fake[:size], importance=True)
        reference, rows = None, 0
        if holdout is not None and min(len(train), len(holdout)) >= MIN_ROWS:
            rows = min(len(train), len(holdout), size)
            sides = train[:rows], holdout[:rows]
            reference = evidence.known.figure(
                self.name, rows, lambda: _versus(evidence, *sides, importance=False)
            )
        names = (column.name for column in features.columns)
        return self.result(
            value=verdict.auc,
            ci=normal_interval(verdict.auc, verdict.variance, evidence.confidence),
            reference=None if reference is None else reference.auc,
            n={"real": size, "synthetic": size, "reference a side": rows},
            gate_n=size,
            method=(
                f"{FOLDS}-fold gradient boosting; mean of fold AUCs, DeLong variance; reference: train"
                " against holdout"
            ),
            aspects={
                "pmse": Estimate(value=verdict.pmse, reference=None if reference is None else reference.pmse)
            },
            per_column={n: float(value) for n, value in zip(names, verdict.importance, strict=True)},
        )


@dataclass(frozen=True)
class Fold:
    """One fold as a task."""

    x: Floats
    y: Bools
    test: Bools
    categorical: npt.NDArray[np.bool_]
    seed: int
    importance: bool


@dataclass(frozen=True)
class Verdict:
    """How well a classifier separates two tables."""

    auc: float
    variance: float
    pmse: float
    """Mean squared distance of the predicted probability from the share of synthetic rows."""
    importance: list[float]


def _versus(evidence: TableEvidence, real: Floats, fake: Floats, *, importance: bool) -> Verdict:
    x, categorical = np.concatenate([real, fake]), evidence.real.all_features.categorical
    y = np.arange(len(x)) >= len(real)
    # Each row is scored by a model that did not see it; in the same fold its own label would be learnt.
    fold_of = evidence.rng(11).permutation(len(x)) % FOLDS
    seed = evidence.settings.seed & 0x7FFFFFFF
    jobs = [Fold(x, y, fold_of == k, categorical, seed + k, importance and k == 0) for k in range(FOLDS)]
    folds = evidence.map_tasks(run_fold, jobs)
    return Verdict(
        auc=float(np.mean([f[0] for f in folds])),
        # Of a mean of folds; their training rows overlap, which makes this a little small.
        variance=float(np.sum([f[1] for f in folds]) / FOLDS**2),
        pmse=float(np.mean([f[2] for f in folds])),
        importance=folds[0][3],
    )


def run_fold(job: Fold) -> tuple[float, float, float, list[float]]:
    """AUC, its variance, pMSE and the loss of AUC by shuffled column of one fold."""
    with threadpool_limits(1):
        model: Any = HistGradientBoostingClassifier(
            max_iter=60,
            max_leaf_nodes=31,
            early_stopping=False,
            categorical_features=job.categorical,
            random_state=job.seed,
        )
        model.fit(without_empty(job.x[~job.test]), job.y[~job.test])
        x, y = job.x[job.test], job.y[job.test]
        score = model.predict_proba(x)[:, 1]
        value, variance = auc(score[y], score[~y])
        pmse = float(((score - y.mean()) ** 2).mean())
        if not job.importance:
            return value, variance, pmse, []
        # One prediction a column: bounded, as wide tables have thousands.
        importance = _importance(model, x[:IMPORTANCE_ROWS], y[:IMPORTANCE_ROWS], job.seed)
        return value, variance, pmse, importance


def _importance(model: Any, x: Floats, y: Bools, seed: int) -> list[float]:
    """AUC that is lost when a column is shuffled."""
    rng = np.random.default_rng(seed)
    if y.all() or not y.any():
        return [0.0] * x.shape[1]

    def area(rows: Floats) -> float:
        score = model.predict_proba(rows)[:, 1]
        return auc(score[y], score[~y])[0]

    base, lost = area(x), []
    for j in range(x.shape[1]):
        shuffled = x.copy()
        shuffled[:, j] = shuffled[rng.permutation(len(x)), j]
        lost.append(base - area(shuffled))
    return lost
