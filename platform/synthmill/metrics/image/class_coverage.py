"""Do all classes of the training images occur? Reads the label of every row."""

import numpy as np

from synthmill.metrics.base import Result
from synthmill.metrics.lib.columns import Bools, Ints
from synthmill.metrics.lib.image_evidence import ImageEvidence, ImageMetric
from synthmill.metrics.lib.intervals import wilson

EXPECTED_ROWS = 20
LEAST_OF_CLASS = 5


class ClassCoverage(ImageMetric):
    """Share of classes that occur, of those with at least 5 training and 20 expected images."""

    name = "image.class_coverage"
    title = "Class coverage"
    question = "Does every class that should occur occur?"
    axis = "diversity"
    goal = "maximize"
    bounds = (0.0, 1.0)
    needs = ("classes",)
    profile = "quick"
    by_feature = False
    advice = (
        "Classes are missing altogether. Train longer, balance the classes, or ask for equal numbers of each"
        " (--balance label)."
    )

    def compute(self, evidence: ImageEvidence) -> Result:
        train, made = evidence.label_rows("train").classes, evidence.label_rows("synthetic")
        # Chance leaves a class of 20 expected images out once in 5e8.
        due = _due(train, made.total)
        if not due.any():
            return self.not_applicable(f"no class is frequent enough to expect {EXPECTED_ROWS} images of it")
        seen = made.classes > 0
        hit, count = int((seen & due).sum()), int(due.sum())
        reference = None
        # The holdout may be too small to expect every class, which the reference allows for.
        if "holdout" in evidence.sides:
            holdout = evidence.label_rows("holdout")
            due_there = _due(train, holdout.total)
            reference = float((holdout.classes > 0)[due_there].mean()) if due_there.any() else None
        return self.named(
            evidence,
            value=hit / count,
            ci=wilson(hit, count, evidence.confidence),
            reference=reference,
            n={"train": int(train.sum()), "synthetic": made.total, "classes": count},
            gate_n=min(int(train.sum()), made.total),
            method=(
                "the label of every row; Wilson interval over the classes; reference: the holdout's labels"
            ),
            per_column={evidence.classes[code]: float(seen[code]) for code in np.flatnonzero(due)},
        )


def _due(train: Ints, rows: int) -> Bools:
    """(classes,): which of them so many rows should have."""
    return np.asarray((train >= LEAST_OF_CLASS) & (train * (rows / train.sum()) >= EXPECTED_ROWS))
