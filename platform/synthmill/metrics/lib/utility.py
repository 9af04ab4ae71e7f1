"""What the utility figures share: labelled matrices of each side, paired scores and their interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthmill.metrics.lib.columns import Floats
from synthmill.metrics.lib.learners import Fit, Labelled, Prediction, fit_predict, scores
from synthmill.metrics.lib.table_evidence import TableEvidence

MIN_TEST_ROWS = 30


def why_not(evidence: TableEvidence) -> str | None:
    """Why no learner can be scored on this data; None if one can."""
    features, limit = evidence.real.features, evidence.settings.limits.classifier_rows
    train, test, fake = (evidence.labelled(name, limit) for name in ("train", "holdout", "synthetic"))
    if not features.columns:
        return "no column is left to predict the target from"
    if features.task != "regression" and len(np.unique(train.y)) < 2:
        return (
            f"the target {features.target and features.target.name!r} has a single class in the training rows"
        )
    if len(test) < MIN_TEST_ROWS:
        return f"{len(test)} labelled holdout rows are too few to score on; {MIN_TEST_ROWS} are needed"
    if len(np.unique(test.y)) < 2:
        return "the holdout rows have a single " + (
            "value of the target" if features.task == "regression" else "class"
        )
    if len(train) < MIN_TEST_ROWS:
        return f"{len(train)} labelled training rows are too few; {MIN_TEST_ROWS} are needed"
    if not len(fake):
        return "no synthetic row has a target that occurs in the training rows"
    return None


@dataclass(frozen=True)
class Arm:
    """One way to train: what on, with which learner and seeds."""

    learner: str
    train: Labelled
    seeds: tuple[int, ...]
    weights: Floats | None = None
    key: str | None = None
    """Set where `train` is the head of the training rows: figures share such predictions."""


def predict(evidence: TableEvidence, arms: Sequence[Arm], test: Labelled) -> list[list[Floats]]:
    """Predictions on the test rows, by arm and seed; the linear learner has no randomness, so one seed."""
    features, known = evidence.real.features, evidence.known.predictions
    jobs: dict[Prediction, Fit] = {}
    wanted: list[list[Prediction]] = []
    for place, arm in enumerate(arms):
        seeds = arm.seeds[:1] if arm.learner == "linear" else arm.seeds
        # An arm that nothing else trains is identified by its place.
        keys = [(arm.learner, arm.key or f"#{place}", len(arm.train), seed) for seed in seeds]
        for seed, key in zip(seeds, keys, strict=True):
            if arm.key is None or key not in known:
                jobs[key] = Fit(arm.learner, features, arm.train.x, arm.train.y, test.x, seed, arm.weights)
        wanted.append(keys)
    fresh = dict(zip(jobs, evidence.map_tasks(fit_predict, list(jobs.values())), strict=True))
    # Predictions of arms that only this figure trains would fill memory for nothing.
    known.update({key: prediction for key, prediction in fresh.items() if not key[1].startswith("#")})
    return [[fresh[key] if key in fresh else known[key] for key in keys] for keys in wanted]


def score_replicates(
    evidence: TableEvidence, predictions: Sequence[Floats], test: Labelled, weights_BN: Floats
) -> Floats:
    """(seeds, 1 + B): the score of each seed on the test rows and on each bootstrap draw of them."""
    task = evidence.real.features.task
    assert task is not None
    # The first row of weights is the plain score.
    both = np.concatenate([np.ones((1, len(test))), weights_BN])
    return np.stack([scores(task, test.y, prediction, both) for prediction in predictions])


def combine(table_SB: Floats, picks_BS: Any) -> Floats:
    """(1 + B,): the mean over seeds; in draw b over the seeds drawn for it, so that both variances are in the
    spread.

    Drawing from few seeds shows (S - 1) / S of their variance; the deviation is scaled up for it.
    """
    seeds = table_SB.shape[0]
    out = np.empty(table_SB.shape[1])
    out[0] = table_SB[:, 0].mean()
    mean = table_SB[:, 1:].mean(axis=0)
    drawn = np.take_along_axis(table_SB[:, 1:].T, picks_BS % seeds, axis=1).mean(axis=1)
    out[1:] = mean + (drawn - mean) * np.sqrt(seeds / (seeds - 1) if seeds > 1 else 1.0)
    return out
