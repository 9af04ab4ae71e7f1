"""The downstream models that utility figures train, and how their predictions are scored.

Features are fitted on the real training rows. Trees read categories as integer codes and missing numbers as
NaN; the linear model reads standardised numbers and one-hot categories (30 most frequent levels). One thread
each, so that a figure does not depend on the machine.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from synthmill.metrics.lib.binning import Bins
from synthmill.metrics.lib.columns import MISSING, Column, Floats, Ints, codes_in, floats, texts
from synthmill.metrics.lib.intervals import weighted_auc

Task = Literal["binary", "multiclass", "regression"]
LEARNERS = ("gradient_boosting", "linear", "random_forest")
CHANCE: dict[Task, float] = {"binary": 0.5, "multiclass": 0.5, "regression": 0.0}
SCORE: dict[Task, str] = {
    "binary": "ROC AUC",
    "multiclass": "macro one-against-rest ROC AUC",
    "regression": "R2",
}
# scikit-learn bins at most 255 levels of a category, of which missing and unknown ones take two.
MAX_TREE_LEVELS = 250
MAX_ONE_HOT_LEVELS = 30
REGRESSION_LEVELS = 20


@dataclass(frozen=True)
class Features:
    """What a learner reads and what it predicts, fitted on the real training rows."""

    columns: tuple[Column, ...]
    levels: dict[str, dict[str, int]]
    centers: dict[str, tuple[float, float]]
    """Numeric column -> mean and standard deviation."""
    target: Column | None
    task: Task | None
    classes: tuple[str, ...]

    @property
    def categorical(self) -> npt.NDArray[np.bool_]:
        """(columns,): which of them are categories."""
        return np.array([c.role != "numeric" for c in self.columns], dtype=np.bool_)

    def matrix(self, table: pa.Table) -> Floats:
        """float64 (N, columns) for trees; NaN where missing."""
        out = np.empty((table.num_rows, len(self.columns)))
        for j, column in enumerate(self.columns):
            if column.role == "numeric":
                values = floats(table[column.name])
                out[:, j] = np.where(np.isfinite(values), values, np.nan)
            else:
                levels = self.levels[column.name]
                codes = codes_in(table[column.name], levels, unseen=len(levels))
                out[:, j] = np.where(codes == MISSING, np.nan, codes)
        return out

    def labels(self, table: pa.Table) -> Floats | Ints:
        """The target: float64 for regression, else class codes int64, -1 for missing and unknown classes."""
        assert self.target is not None
        if self.task == "regression":
            return floats(table[self.target.name])
        return codes_in(table[self.target.name], {v: i for i, v in enumerate(self.classes)}, unseen=-1)

    def dense(self, matrix_ND: Floats) -> npt.NDArray[np.float32]:
        """The matrix as a linear model reads it."""
        parts: list[Any] = []
        for j, column in enumerate(self.columns):
            values = matrix_ND[:, j]
            if column.role == "numeric":
                mean, sd = self.centers[column.name]
                # One outlier would otherwise decide a linear model.
                z = np.clip((values - mean) / sd, -10, 10)
                parts += [np.nan_to_num(z)[:, None], np.isnan(values)[:, None]]
            else:
                width = min(len(self.levels[column.name]), MAX_ONE_HOT_LEVELS) + 1
                code = np.where(np.isnan(values), width - 1, np.minimum(values, width - 1)).astype(np.int64)
                parts.append(np.eye(width, dtype=np.float32)[code])
        return np.concatenate(parts, axis=1, dtype=np.float32)


def fit_features(
    columns: tuple[Column, ...], bins: dict[str, Bins], train: pa.Table, target: str | None, task: Task | None
) -> Features:
    """Features of every column but the target and identifiers."""
    used = tuple(c for c in columns if c.role != "identifier" and c.name != target)
    levels = {
        c.name: {v: r for v, r in bins[c.name].levels.items() if r < MAX_TREE_LEVELS}
        for c in used
        if c.role != "numeric"
    }
    centers = {}
    for column in (c for c in used if c.role == "numeric"):
        values = floats(train[column.name])
        finite = values[np.isfinite(values)]
        # A constant or empty column has no deviation to divide by.
        centers[column.name] = (
            (float(finite.mean()), float(finite.std()) or 1.0) if len(finite) else (0.0, 1.0)
        )
    goal = next((c for c in columns if c.name == target), None)
    classes: tuple[str, ...] = ()
    if goal is not None and task != "regression":
        codes, seen = texts(train[goal.name])
        classes = tuple(sorted(seen[i] for i in np.unique(codes[codes >= 0])))
    return Features(used, levels, centers, goal, task, classes)


Prediction = tuple[str, str, int, int]
"""Learner, name of the arm, training rows, seed."""


@dataclass(frozen=True)
class Labelled:
    """Features and target of the rows that have a target."""

    x: Floats
    y: Any

    def __len__(self) -> int:
        return len(self.x)

    def head(self, rows: int) -> "Labelled":
        """The first rows (sides are in random order)."""
        return Labelled(self.x[:rows], self.y[:rows])

    def plus(self, other: "Labelled") -> "Labelled":
        """Both tables."""
        return Labelled(np.concatenate([self.x, other.x]), np.concatenate([self.y, other.y]))


def labelled(features: Features, table: pa.Table) -> Labelled:
    """Rows whose target is missing, or a class that no training row has, are dropped."""
    assert features.target is not None
    table = table.filter(pc.is_valid(table[features.target.name]))
    y = features.labels(table)
    # A learner can neither be trained on nor scored by rows without a known target.
    keep = np.isfinite(y) if features.task == "regression" else y >= 0
    return Labelled(features.matrix(table)[keep], y[keep])


def task_of(target: Column, train: pa.Table) -> Task:
    """Regression for a number of more than 20 values, else binary for two levels and multiclass for more."""
    if target.role == "numeric":
        values = floats(train[target.name])
        distinct = len(np.unique(values[np.isfinite(values)]))
        return "regression" if distinct > REGRESSION_LEVELS else ("binary" if distinct == 2 else "multiclass")
    codes, _ = texts(train[target.name])
    return "binary" if len(np.unique(codes[codes >= 0])) == 2 else "multiclass"


@dataclass(frozen=True)
class Fit:
    """One training of one learner, as a task: everything it needs and nothing else."""

    learner: str
    features: Features
    x: Floats
    y: Any
    x_test: Floats
    seed: int
    weights: Floats | None = None


def without_empty(x: Floats) -> Floats:
    """The matrix with columns that have no value at all set to 0; trees refuse them as they are."""
    empty = np.isnan(x).all(axis=0)
    return np.where(empty, 0.0, x) if empty.any() else x


def fit_predict(job: Fit) -> Floats:
    """Predictions on the test rows: (N, classes) probabilities, or (N,) for regression."""
    features, model = job.features, _model(job)
    x: Any
    x_test: Any
    # One thread: sums in another order would change the last bits with the number of cores.
    with threadpool_limits(1):
        if job.learner == "linear":
            x, x_test = features.dense(job.x), features.dense(job.x_test)
        else:
            x, x_test = without_empty(job.x), job.x_test
        if features.task == "regression":
            return np.asarray(model.fit(x, job.y).predict(x_test), dtype=np.float64)
        seen = np.unique(job.y)
        out = np.zeros((len(x_test), len(features.classes)))
        # Synthetic rows may have one class alone, which no classifier accepts.
        if len(seen) == 1:
            out[:, seen[0]] = 1.0
            return out
        model.fit(x, job.y, sample_weight=job.weights)
        out[:, model.classes_] = model.predict_proba(x_test)
        return out


def _model(job: Fit) -> Any:
    regression = job.features.task == "regression"
    if job.learner == "linear":
        return Ridge() if regression else LogisticRegression(max_iter=200, tol=1e-3)
    if job.learner == "random_forest":
        # Half of the features a split; of a classifier scikit-learn's default, the square root, is as good.
        forest = {"n_estimators": 50, "min_samples_leaf": 3, "random_state": job.seed}
        return (
            RandomForestRegressor(max_features=0.5, **forest)
            if regression
            else RandomForestClassifier(**forest)
        )
    # Early stopping would choose a validation split by itself: rows, and so figures, would depend on chance.
    boosting = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    return boosting(
        max_iter=100,
        max_features=0.5,
        early_stopping=False,
        categorical_features=job.features.categorical,
        random_state=job.seed,
    )


def scores(task: Task, truth: Any, predicted: Floats, weights_BN: Floats) -> Floats:
    """(B,): the task's score of one set of predictions under each row of weights."""
    if task == "regression":
        mean = (weights_BN * truth).sum(axis=1) / weights_BN.sum(axis=1)
        residual = (weights_BN * (truth - predicted) ** 2).sum(axis=1)
        total = (weights_BN * (truth - mean[:, None]) ** 2).sum(axis=1)
        # A constant target has no variance to explain.
        return np.asarray(1 - residual / np.maximum(total, 1e-300))
    if task == "binary":
        return weighted_auc(truth == 1, predicted[:, 1], weights_BN)
    # Macro average: a rare class counts as much as a frequent one.
    each = [weighted_auc(truth == c, predicted[:, c], weights_BN) for c in np.unique(truth)]
    return np.asarray(np.nanmean(np.stack(each), axis=0))
