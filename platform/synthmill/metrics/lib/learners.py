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
from synthmill.metrics.lib.columns import Column, Floats, Ints, floats, texts
from synthmill.metrics.lib.intervals import weighted_auc

Task = Literal["binary", "multiclass", "regression"]
LEARNERS = ("gradient_boosting", "linear", "random_forest")
CHANCE: dict[Task, float] = {"binary": 0.5, "multiclass": 0.5, "regression": 0.0}
SCORE: dict[Task, str] = {
    "binary": "ROC AUC",
    "multiclass": "macro one-against-rest ROC AUC",
    "regression": "R2",
}
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
            out[:, j] = self._column(column, table)
        return out

    def _column(self, column: Column, table: pa.Table) -> Floats:
        if column.role == "numeric":
            return np.where(np.isfinite(values := floats(table[column.name])), values, np.nan)
        codes, seen = texts(table[column.name])
        levels = self.levels[column.name]
        lookup = np.array([*(float(levels.get(value, len(levels))) for value in seen), np.nan])
        return np.asarray(lookup[codes])

    def labels(self, table: pa.Table) -> Floats | Ints:
        """The target: float64 for regression, class codes int64 otherwise. Rows without one must have been
        dropped."""
        assert self.target is not None
        if self.task == "regression":
            return floats(table[self.target.name])
        codes, seen = texts(table[self.target.name])
        place = {value: i for i, value in enumerate(self.classes)}
        return np.array([place.get(value, -1) for value in seen] or [-1], dtype=np.int64)[codes]

    def dense(self, matrix_ND: Floats) -> npt.NDArray[np.float32]:
        """The matrix as a linear model reads it."""
        parts: list[Any] = []
        for j, column in enumerate(self.columns):
            values = matrix_ND[:, j]
            if column.role == "numeric":
                mean, sd = self.centers[column.name]
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
    centers = {c.name: _center(floats(train[c.name])) for c in used if c.role == "numeric"}
    goal = next((c for c in columns if c.name == target), None)
    classes: tuple[str, ...] = ()
    if goal is not None and task != "regression":
        codes, seen = texts(train[goal.name])
        classes = tuple(sorted(seen[i] for i in np.unique(codes[codes >= 0])))
    return Features(used, levels, centers, goal, task, classes)


def _center(values: Floats) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.mean()), float(finite.std()) or 1.0) if len(finite) else (0.0, 1.0)


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
    keep = np.isfinite(y) if features.task == "regression" else y >= 0
    return Labelled(features.matrix(table)[keep], y[keep])


def task_of(target: Column, train: pa.Table) -> Task:
    """What predicting the column is: two levels binary, more multiclass, a number with more than 20 values
    regression."""
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
    """The matrix with columns that have no value at all set to 0, which no tree can split; trees refuse them
    as they are."""
    empty = np.isnan(x).all(axis=0)
    return np.where(empty, 0.0, x) if empty.any() else x


def fit_predict(job: Fit) -> Floats:
    """Predictions on the test rows: (N, classes) probabilities, or (N,) for regression."""
    features = job.features
    with threadpool_limits(1):
        if features.task == "regression":
            model = _regressor(job)
            return np.asarray(model.fit(*_inputs(job)).predict(_shape(job, job.x_test)), dtype=np.float64)
        seen = np.unique(job.y)
        out = np.zeros((len(job.x_test), len(features.classes)))
        if len(seen) == 1:
            out[:, seen[0]] = 1.0
            return out
        model = _classifier(job).fit(*_inputs(job), sample_weight=job.weights)
        out[:, model.classes_] = model.predict_proba(_shape(job, job.x_test))
        return out


def _inputs(job: Fit) -> tuple[Any, Any]:
    return _shape(job, job.x if job.learner == "linear" else without_empty(job.x)), job.y


def _shape(job: Fit, x: Floats) -> Any:
    return job.features.dense(x) if job.learner == "linear" else x


def _classifier(job: Fit) -> Any:
    if job.learner == "linear":
        return LogisticRegression(max_iter=200, tol=1e-3)
    if job.learner == "random_forest":
        return RandomForestClassifier(n_estimators=50, min_samples_leaf=3, random_state=job.seed)
    return HistGradientBoostingClassifier(
        max_iter=100,
        max_features=0.5,
        early_stopping=False,
        categorical_features=job.features.categorical,
        random_state=job.seed,
    )


def _regressor(job: Fit) -> Any:
    if job.learner == "linear":
        return Ridge()
    if job.learner == "random_forest":
        return RandomForestRegressor(
            n_estimators=50, min_samples_leaf=3, max_features=0.5, random_state=job.seed
        )
    return HistGradientBoostingRegressor(
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
        return np.asarray(1 - residual / np.maximum(total, 1e-300))
    if task == "binary":
        return weighted_auc(truth == 1, predicted[:, 1], weights_BN)
    each = [weighted_auc(truth == c, predicted[:, c], weights_BN) for c in np.unique(truth)]
    return np.asarray(np.nanmean(np.stack(each), axis=0))
