"""The tuning hook: a named set of objectives on the validation rows, cheap enough to run every few hundred
training steps.

Tuning must never see the holdout, so validation takes its place here. Prepare once, call for every
candidate; a call costs one pass over the synthetic rows, a nearest-neighbour search on at most 2,000 rows a
side and two small gradient boostings.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from synthmill.errors import DataError
from synthmill.evaluation.evaluate import compute
from synthmill.evaluation.evidence.table import Table, prepare, read_synthetic
from synthmill.evaluation.tables import Tables
from synthmill.metrics.base import Goal, Metric, map_serially, metric_classes
from synthmill.metrics.lib.table_evidence import Limits, Real, Settings, TableEvidence

ROWS = 2_000


@dataclass(frozen=True)
class Objective:
    """One number to optimise."""

    name: str
    value: float | None
    """None: this data can't give it; a search leaves it out."""
    goal: Goal
    kind: str
    """objective, or constraint: kept within the default gates' limits rather than optimised."""


SOURCES: tuple[tuple[str, str, str | None, str], ...] = (
    ("fidelity_columns", "tabular.marginal_gap", None, "objective"),
    ("fidelity_pairs", "tabular.pair_gap", None, "objective"),
    ("utility", "utility.tstr_ratio", None, "objective"),
    # A search that optimised these would trade people's privacy for fidelity.
    ("privacy_near_copies", "privacy.near_copy_pvalue", "ratio", "constraint"),
    ("overfit", "overfit.dcr_share", None, "constraint"),
)
GOALS: dict[str, Goal] = {"privacy_near_copies": "minimize", "overfit": "minimize"}


@dataclass(frozen=True)
class Objectives:
    """Scores candidates against one source; `real` has validation in the place of the holdout."""

    real: Real
    settings: Settings

    def __call__(self, synthetic: pa.Table) -> dict[str, Objective]:
        """Objective name -> value and goal."""
        totals, sample, _ = read_synthetic(synthetic, self.real, self.settings, map_serially)
        evidence = TableEvidence(self.real, totals, sample, self.settings)
        classes = metric_classes("table")
        chosen: list[type[Metric[Any]]] = [
            classes[name] for name in dict.fromkeys(source[1] for source in SOURCES)
        ]
        door = Table(evidence)
        results = compute(door, chosen, self.settings.confidence)
        outcomes: dict[str, Objective] = {}
        for name, metric, aspect, kind in SOURCES:
            result = results[metric]
            estimate: Any = result if aspect is None else result.aspects.get(aspect)
            value = None if result.status != "ok" or estimate is None else estimate.value
            outcomes[name] = Objective(name, value, GOALS.get(name, classes[metric].goal), kind)
        return outcomes


def objectives(
    train: pa.Table, validation: pa.Table, *, target: str | None, kinds: Any = None, seed: int = 0
) -> Objectives:
    """A scorer for candidates trained on `train`.

    Raises:
        DataError: no validation rows, or tables that can't be compared.
    """
    if not validation.num_rows:
        raise DataError("is empty; tuning needs validation rows", field="data.split.validation")
    # Validation in the place of the holdout, which tuning must never see.
    real = prepare(Tables(train, None, validation, train, kinds or {}), target=target, seed=seed)
    # Small and cheap: a search calls this hundreds of times.
    settings = Settings(seed=seed, limits=Limits(ROWS, ROWS), learner_seeds=1, replicates=50)
    return Objectives(real, settings)
