"""Does every class of the target occur?"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.metrics.base import Result
from synthmill.metrics.lib.intervals import wilson
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric

EXPECTED_ROWS = 10


class TargetClasses(TableMetric):
    """Share of the target's classes that occur, of those of which at least 10 synthetic rows are expected:
    chance leaves such a class out once in 20,000."""

    name = "diversity.target_classes"
    title = "Classes of the target"
    question = "Does every class that a model should learn to predict occur?"
    axis = "diversity"
    goal = "maximize"
    bounds = (0.0, 1.0)
    needs = ("target",)
    profile = "quick"
    advice = (
        "Nothing can learn a class that is missing. Ask for equal numbers of each (`--balance`), or keep rare"
        " classes when training."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        real = evidence.real
        assert real.target is not None
        if real.task == "regression":
            return self.not_applicable("the target is a number, not one of several classes")
        sample = evidence.sample
        seen = classes_seen(real.train[real.target], sample[real.target])
        if not seen:
            return self.not_applicable(f"no class is frequent enough to expect {EXPECTED_ROWS} rows of it")
        real_seen = {}
        if real.holdout is not None:
            real_seen = classes_seen(real.train[real.target], real.holdout[real.target])
        return self.result(
            value=float(np.mean(list(seen.values()))),
            ci=wilson(sum(seen.values()), len(seen), evidence.confidence),
            reference=float(np.mean(list(real_seen.values()))) if real_seen else None,
            n={"train": real.train.num_rows, "synthetic": sample.num_rows, "classes": len(seen)},
            gate_n=min(real.train.num_rows, sample.num_rows),
            method=f"classes of which {EXPECTED_ROWS} rows are expected among those read; Wilson interval",
            per_column={f"{real.target}={value}": float(occurs) for value, occurs in seen.items()},
            details={"missing": [value for value, occurs in seen.items() if not occurs]},
        )


def classes_seen(train: pa.ChunkedArray, other: pa.ChunkedArray) -> dict[str, bool]:
    """Class -> whether `other` has it, of the classes of which so many rows would have at least 10."""
    counted = pc.value_counts(train.drop_null()).to_pylist()
    made = set(pc.unique(other).to_pylist())
    share = len(other) / len(train)
    # By expected rows, not by training rows: a small sample can't have every rare class.
    due = sorted(cell["values"] for cell in counted if cell["counts"] * share >= EXPECTED_ROWS)
    return {str(value): value in made for value in due}
