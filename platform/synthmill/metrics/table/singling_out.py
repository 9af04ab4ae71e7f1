"""Can predicates read off the synthetic rows isolate one person in the training data?"""

from dataclasses import dataclass

import numpy as np

from synthmill.metrics.base import Result
from synthmill.metrics.lib.attacks import Attempts, attack_result, sides
from synthmill.metrics.lib.columns import Bools, Floats, Ints
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric

COLUMNS = 3
TRIES = 20
MIN_ATTEMPTS = 50


class SinglingOut(TableMetric):
    """Predicates that hold for one synthetic row, tried on training rows (arXiv 2211.10459, 3.1)."""

    name = "privacy.singling_out"
    title = "Singling out"
    question = "Do the synthetic rows point at single people in the training data?"
    axis = "privacy"
    goal = "minimize"
    bounds = (0.0, 1.0)
    needs = ("holdout",)
    profile = "opt-in"
    advice = (
        "Unusual combinations of real people reappear. Fold rare categories, bound numbers in a schema file, "
        "or train with differential privacy."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        features = evidence.real.all_features
        if not features.columns:
            return self.unavailable("the table has only identifier columns")
        rows, limit = sides(evidence), evidence.settings.limits.neighbour_rows
        train, holdout = (features.matrix(evidence.table(side, rows)) for side in ("train", "holdout"))
        fake = features.matrix(evidence.table("synthetic", limit))
        rng, wanted = evidence.rng(40), evidence.settings.attacks
        # Far more tries than needed, as most predicates hold for several rows.
        informed = _unique(_from_rows(fake, features.categorical, rng, wanted * TRIES), fake, wanted)
        guessed = _guess(fake, features.categorical, rng, wanted)
        number = min(len(informed), len(guessed))
        if number < MIN_ATTEMPTS:
            return self.unavailable(
                f"only {number} predicates isolate a synthetic row; {MIN_ATTEMPTS} are needed", gate_n=number
            )
        attempts = Attempts(
            main=sum(p.count(train) == 1 for p in informed[:number]),
            control=sum(p.count(holdout) == 1 for p in informed[:number]),
            baseline=sum(p.count(train) == 1 for p in guessed[:number]),
            number=number,
        )
        return attack_result(
            SinglingOut,
            attempts,
            evidence,
            f"predicates on {min(COLUMNS, len(features.columns))} columns, equal populations",
        )


@dataclass(frozen=True)
class Predicate:
    """A conjunction: each column equal to, at least, or at most a value."""

    columns: tuple[int, ...]
    operators: tuple[str, ...]
    values: tuple[float, ...]

    def count(self, rows: Floats) -> int:
        """Rows for which it holds."""
        holds: Bools = np.ones(len(rows), dtype=np.bool_)
        for column, operator, value in zip(self.columns, self.operators, self.values, strict=True):
            cells = rows[:, column]
            if np.isnan(value):
                holds &= np.isnan(cells)
            elif operator == "==":
                holds &= cells == value
            else:
                holds &= cells >= value if operator == ">=" else cells <= value
        return int(np.count_nonzero(holds))


def _from_rows(fake: Floats, categorical: Bools, rng: np.random.Generator, number: int) -> list[Predicate]:
    # Towards the tail: at least where the value is above the median, else at most, isolates best.
    medians = np.array([np.median(c[np.isfinite(c)]) if np.isfinite(c).any() else 0.0 for c in fake.T])
    picked: Ints = rng.integers(len(fake), size=number)
    return [_predicate(fake[i], _some_columns(fake.shape[1], rng), categorical, medians) for i in picked]


def _guess(fake: Floats, categorical: Bools, rng: np.random.Generator, number: int) -> list[Predicate]:
    width, out = fake.shape[1], []
    finite = [c[np.isfinite(c)] for c in fake.T]
    for _ in range(number):
        columns = _some_columns(width, rng)
        values = [
            rng.choice(np.unique(finite[j]))
            if categorical[j]
            else rng.uniform(finite[j].min(), finite[j].max())
            for j in columns
            if len(finite[j])
        ]
        if len(values) == len(columns):
            operators = tuple("==" if categorical[j] else str(rng.choice([">=", "<="])) for j in columns)
            out.append(Predicate(columns, operators, tuple(float(v) for v in values)))
    return out


def _some_columns(width: int, rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(j) for j in np.sort(rng.choice(width, min(COLUMNS, width), replace=False)))


def _predicate(row: Floats, columns: tuple[int, ...], categorical: Bools, medians: Floats) -> Predicate:
    operators = tuple("==" if categorical[j] else (">=" if row[j] > medians[j] else "<=") for j in columns)
    return Predicate(columns, operators, tuple(float(row[j]) for j in columns))


def _unique(candidates: list[Predicate], fake: Floats, wanted: int) -> list[Predicate]:
    unique: dict[Predicate, None] = {}
    for candidate in candidates:
        if len(unique) == wanted:
            break
        if candidate not in unique and candidate.count(fake) == 1:
            unique[candidate] = None
    return list(unique)
