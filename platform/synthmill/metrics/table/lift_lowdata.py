"""Does a generator trained on few rows help models trained on the same few rows?"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats

from synthmill.errors import SynthmillError
from synthmill.metrics.base import Estimate, Result, Retrain
from synthmill.metrics.lib.baselines import NOTHING, SYNTHETIC, arms
from synthmill.metrics.lib.binning import fit_bins
from synthmill.metrics.lib.columns import Column, Floats
from synthmill.metrics.lib.learners import SCORE, Fit, Task, fit_features, fit_predict, labelled, scores
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric
from synthmill.metrics.lib.utility import why_not

MIN_SEEDS = 3


class LiftLowdata(TableMetric):
    """Mean over sizes n of score(T_n + S) - score(T_n), S from a generator trained on T_n alone, at the best
    learner.

    Every seed draws T_n anew (stratified), trains the generator anew and the learner anew; the t-interval
    over seeds holds all three variances. Training the generator on more than T_n is the usual mistake.
    Retrains sizes x seeds generators, seed by seed until the budget is spent; never gates publication,
    because it judges the recipe, not the dataset.
    """

    name = "utility.lift_lowdata"
    title = "Augmentation lift with few rows"
    question = "When real rows are few, does this recipe make models better?"
    axis = "utility"
    goal = "maximize"
    on_whole_table = True
    needs = ("holdout", "target", "retrain")
    profile = "full"
    advice = "With few rows this recipe does not help either; a simpler model or plain duplication may."

    def compute(self, evidence: TableEvidence) -> Result:
        reason = why_not(evidence)
        sizes = [n for n in evidence.settings.lowdata_rows if n <= evidence.real.train.num_rows]
        if reason or not sizes:
            return self.unavailable(reason or "fewer training rows than the smallest size")
        # Some models need more rows than the smallest size has; the others still say something.
        cells, faults = run_cells(evidence, sizes)
        sizes = [n for n in sizes if n not in faults]
        if not sizes:
            return self.unavailable(
                f"the recipe can't be trained on so few rows: {next(iter(faults.values()))}"
            )
        seeds = sorted({seed for _, seed in cells})
        if len(seeds) < MIN_SEEDS:
            return self.unavailable(
                f"the budget allowed {len(seeds)} of at least {MIN_SEEDS} seeds; raise --budget"
            )
        settings, task = evidence.settings, evidence.real.features.task
        assert task is not None
        # By its score without synthetic rows: the learner with the largest lift would be chosen for luck.
        alone = {
            name: float(np.mean([cell[name][NOTHING] for cell in cells.values()]))
            for name in settings.learners
        }
        best = max(alone, key=lambda learner: alone[learner])
        # One value a seed: its sizes share a generator's luck, so they are no independent draws.
        lifts = [
            np.mean([cells[n, s][best][SYNTHETIC] - cells[n, s][best][NOTHING] for n in sizes]) for s in seeds
        ]
        value, ci = t_interval(np.array(lifts), settings.confidence)
        curves = {name: _curve(cells, sizes, seeds, name, settings.confidence) for name in settings.learners}
        points = zip(sizes, curves[best][SYNTHETIC], strict=True)
        holdout = evidence.table("holdout", settings.limits.classifier_rows)
        return self.result(
            value=value,
            ci=ci,
            n={"seeds": len(seeds), "holdout": holdout.num_rows},
            gate_n=len(seeds),
            method=(
                f"{SCORE[task]}; t-interval over {len(seeds)} seeds (training rows, generator and learner"
                " drawn anew)"
            ),
            aspects={f"{n} rows": Estimate(value=p["lift"], ci=p["ci"]) for n, p in points},
            details={
                "best_learner": best,
                "sizes": sizes,
                "untrainable_sizes": {str(n): why for n, why in faults.items()},
                "variance": "training rows, generator and learner; test rows fixed",
                "curves": curves,
                "baseline_scores": alone,
            },
        )


Scores = dict[str, dict[str, float]]
"""Learner -> arm -> score."""
Cells = dict[tuple[int, int], Scores]


@dataclass(frozen=True)
class Cell:
    """One retraining as a task: (rows, seed) -> learner -> arm -> score. Picklable."""

    train: pa.Table
    test: pa.Table
    columns: tuple[Column, ...]
    target: str
    task: Task
    learners: tuple[str, ...]
    retrain: Retrain

    def __call__(self, key: tuple[int, int]) -> Scores | str:
        """The scores, or why the recipe can't be trained on so few rows."""
        rows, seed = key
        subset = self.train.take(stratified(self._strata(), rows, seed))
        try:
            made = self.retrain(subset, seed)
        except SynthmillError as fault:
            return str(fault)
        bins = {c.name: fit_bins(c, subset[c.name]) for c in self.columns if c.role != "identifier"}
        features = fit_features(self.columns, bins, subset, self.target, self.task)
        train, test, fake = (labelled(features, t) for t in (subset, self.test, made))
        once = np.ones((1, len(test)))
        out: Scores = {learner: {} for learner in self.learners}
        for arm, recipe in arms(features, train, fake, seed).items():
            for learner in self.learners:
                job = Fit(learner, features, recipe.train.x, recipe.train.y, test.x, seed, recipe.weights)
                out[learner][arm] = float(scores(self.task, test.y, fit_predict(job), once)[0])
        return out

    def _strata(self) -> Any:
        if self.task == "regression":
            return np.zeros(self.train.num_rows, dtype=np.int64)
        column = self.train[self.target].combine_chunks().dictionary_encode()
        return column.indices.fill_null(-1).to_numpy(zero_copy_only=False)


def run_cells(evidence: TableEvidence, sizes: list[int]) -> tuple[Cells, dict[int, str]]:
    """Every size, seed by seed until the budget is spent; and the sizes that can't be trained on."""
    settings, real = evidence.settings, evidence.real
    assert settings.retrain is not None
    assert real.task is not None
    assert real.target is not None
    test = evidence.table("holdout", settings.limits.classifier_rows)
    cell = Cell(real.train, test, real.columns, real.target, real.task, settings.learners, settings.retrain)
    started, cells, faults = time.monotonic(), Cells(), dict[int, str]()
    # Seed by seed: when the budget ends, every size has the same seeds.
    for seed in range(settings.seed, settings.seed + settings.lowdata_seeds):
        keys = [(rows, seed) for rows in sizes if rows not in faults]
        for key, scored in zip(keys, evidence.map_tasks(cell, keys), strict=True):
            if isinstance(scored, str):
                faults[key[0]] = scored
            else:
                cells[key] = scored
        if settings.budget_seconds is not None and time.monotonic() - started > settings.budget_seconds:
            break
    return {key: scores for key, scores in cells.items() if key[0] not in faults}, faults


def stratified(strata: Any, rows: int, seed: int) -> Any:
    """Indices of `rows` rows, every stratum in proportion and present at least once."""
    rng = np.random.default_rng([seed & 0xFFFFFFFF, rows])
    picked: list[Any] = []
    labels, counts = np.unique(strata, return_counts=True)
    due = np.maximum(1, np.floor(counts * rows / len(strata)).astype(np.int64))
    for label, count in zip(labels, due, strict=True):
        members = np.flatnonzero(strata == label)
        picked.append(rng.choice(members, min(count, len(members)), replace=False))
    chosen = np.concatenate(picked)[:rows] if len(labels) > rows else np.concatenate(picked)
    # Rounding down leaves some places, which any rows may fill.
    rest = np.setdiff1d(np.arange(len(strata)), chosen)
    extra = rng.choice(rest, max(0, min(rows - len(chosen), len(rest))), replace=False)
    return rng.permutation(np.concatenate([chosen, extra]))


def t_interval(values: Floats, confidence: float) -> tuple[float, tuple[float, float]]:
    """Mean and its Student interval."""
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    half = float(stats.t.ppf(0.5 + confidence / 2, len(values) - 1)) * error
    return mean, (mean - half, mean + half)


def _curve(
    cells: Cells, sizes: list[int], seeds: list[int], learner: str, confidence: float
) -> dict[str, list[dict[str, Any]]]:
    arms = (arm for arm in next(iter(cells.values()))[learner] if arm != NOTHING)
    out: dict[str, list[dict[str, Any]]] = {}
    for arm in arms:
        out[arm] = []
        for n in sizes:
            lifts = np.array([cells[n, s][learner][arm] - cells[n, s][learner][NOTHING] for s in seeds])
            mean, ci = t_interval(lifts, confidence)
            out[arm].append({"rows": n, "lift": mean, "ci": list(ci)})
    return out
