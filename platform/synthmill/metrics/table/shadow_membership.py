"""How well could an attacker who can train the same recipe tell members? An audit of the recipe."""

import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy import stats

from synthmill.metrics.base import Estimate, Result, Retrain
from synthmill.metrics.lib.columns import Bools, Floats
from synthmill.metrics.lib.intervals import clopper_pearson
from synthmill.metrics.lib.neighbours import Points, nearest
from synthmill.metrics.lib.space import Space
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric

FPR = 0.01
MIN_MODELS = 6
MIN_ROWS = 200


class ShadowMembership(TableMetric):
    """True positive rate at 1% false positives of a likelihood-ratio attack with shadow generators (arXiv
    2112.03570, eq. 2).

    Each of k generators is trained on a random half of the same rows. For a row x the statistic is phi = -log
    distance to the nearest synthetic row; the score log N(phi; in) - log N(phi; out) uses mean and a shared
    variance of the other generators that did and didn't see x. Every generator is attacked with the others as
    shadows; rates are pooled, so rows recur and the interval, computed as if they didn't, is too narrow by up
    to sqrt(k).
    """

    name = "privacy.shadow_tpr@1fpr"
    title = "Membership inference with shadow models"
    question = "Can an attacker who reruns the recipe tell who was in the training data?"
    axis = "privacy"
    goal = "minimize"
    bounds = (0.0, 1.0)
    on_whole_table = True
    needs = ("retrain",)
    profile = "audit"
    advice = (
        "This recipe leaks membership to someone who can run it. Use more rows, a smaller model, earlier"
        " stopping, or differential privacy."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        settings = evidence.settings
        pool = evidence.table("train", settings.shadow_rows)
        if pool.num_rows < MIN_ROWS or not evidence.real.space.axes:
            return self.unavailable(
                f"{pool.num_rows} training rows are too few to audit; {MIN_ROWS} are needed"
            )
        seen, phi = run_shadows(evidence, pool)
        if len(phi) < MIN_MODELS:
            return self.unavailable(
                f"the budget allowed {len(phi)} of at least {MIN_MODELS} shadow generators; raise --budget"
            )
        members, others = attack_all(seen, phi)
        threshold = np.sort(others)[::-1][int(FPR * len(others))]
        hits = int(np.count_nonzero(members > threshold))
        return self.result(
            value=hits / len(members),
            ci=clopper_pearson(hits, len(members), settings.confidence),
            reference=FPR,
            n={"shadow generators": len(phi), "rows": pool.num_rows},
            gate_n=pool.num_rows,
            method="likelihood ratio with shadow generators on random halves, pooled; reference: guessing",
            aspects={
                "tpr@10fpr": Estimate(value=float((members > np.quantile(others, 0.9)).mean()), reference=0.1)
            },
        )


@dataclass(frozen=True)
class Shadow:
    """One shadow generator as a picklable task: seed -> which rows it saw, and the statistic of every row."""

    pool: pa.Table
    points: Points
    space: Space
    retrain: Retrain

    def __call__(self, seed: int) -> tuple[Bools, Floats]:
        rng = np.random.default_rng([seed & 0xFFFFFFFF, 5])
        inside = np.zeros(self.pool.num_rows, dtype=np.bool_)
        # Half of the rows: each row then has as many generators that saw it as did not.
        inside[rng.permutation(self.pool.num_rows)[: self.pool.num_rows // 2]] = True
        fake = self.space.points(self.retrain(self.pool.filter(inside), seed))
        # 1e-3: a copy at distance 0 must have a finite statistic.
        return inside, -np.log(nearest(self.points, fake)[0][:, 0] + 1e-3)


def run_shadows(evidence: TableEvidence, pool: pa.Table) -> tuple[Bools, Floats]:
    """(models, rows) each: membership and statistics, wave after wave until the budget is spent."""
    settings = evidence.settings
    assert settings.retrain is not None
    task = Shadow(pool, evidence.real.space.points(pool), evidence.real.space, settings.retrain)
    started = time.monotonic()
    shadows: list[tuple[Bools, Floats]] = []
    # Waves, so that the budget can end between them and a cluster has something to share.
    wave = 4
    for first in range(0, settings.shadow_models, wave):
        seeds = range(first, min(first + wave, settings.shadow_models))
        shadows += evidence.map_tasks(task, [settings.seed + i for i in seeds])
        if settings.budget_seconds is not None and time.monotonic() - started > settings.budget_seconds:
            break
    return np.stack([f[0] for f in shadows]), np.stack([f[1] for f in shadows])


def attack_all(seen: Bools, phi: Floats) -> tuple[Floats, Floats]:
    """Scores of members and of non-members, every model attacked once with the others as shadows."""
    members, others = [], []
    for k in range(len(phi)):
        rest = np.arange(len(phi)) != k
        mean_in, sd_in = _moments(phi[rest], seen[rest])
        mean_out, sd_out = _moments(phi[rest], ~seen[rest])
        # A row that all other generators saw, or none, has nothing to compare with.
        usable = np.isfinite(mean_in) & np.isfinite(mean_out)
        score = np.asarray(
            stats.norm.logpdf(phi[k], mean_in, sd_in) - stats.norm.logpdf(phi[k], mean_out, sd_out)
        )
        members.append(score[usable & seen[k]])
        others.append(score[usable & ~seen[k]])
    return np.concatenate(members), np.concatenate(others)


def _moments(phi: Floats, chosen: Bools) -> tuple[Floats, float]:
    """Mean of each row over the chosen models (NaN without any) and one standard deviation for all rows."""
    counts = chosen.sum(axis=0)
    sums = np.where(chosen, phi, 0.0).sum(axis=0)
    mean = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    residual = np.where(chosen, phi - np.nan_to_num(mean), 0.0)
    # One variance for all rows: of a handful of generators a variance for each would be noise (arXiv
    # 2112.03570 for few shadows).
    freedom = max(1, int((counts[counts > 0] - 1).sum()))
    return mean, float(np.sqrt((residual**2).sum() / freedom)) + 1e-6
