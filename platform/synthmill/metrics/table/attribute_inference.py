"""Can an unknown value of a person be read off the nearest synthetic row?"""

import numpy as np

from synthmill.metrics.base import Result
from synthmill.metrics.lib.attacks import Attempts, attack_result, risk, sides
from synthmill.metrics.lib.columns import Floats, floats
from synthmill.metrics.lib.neighbours import nearest
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric

TOLERANCE = 0.05
MIN_ATTEMPTS = 20


class AttributeInference(TableMetric):
    """The attacker knows all columns but one and reads that one off the nearest synthetic row (arXiv
    2211.10459, 3.3).

    Success: the same category, or a number within 5% of it or of its column's spread (the quartiles' distance
    over 1.349), whichever is less: a date counts from 1970, so 5% of it alone is thirty months. The figure is
    the worst over the secret columns: those named, else the target, else every column.
    """

    name = "privacy.attribute_inference"
    title = "Attribute inference"
    question = "Can a secret of a training person be guessed better than that of anybody else?"
    axis = "privacy"
    goal = "minimize"
    bounds = (0.0, 1.0)
    needs = ("holdout",)
    profile = "opt-in"
    advice = (
        "A secret column can be guessed better for training people than for others: the generator memorises."
        " See the near-copy test."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        names = [c.name for c in evidence.real.all_features.columns]
        target = evidence.real.target
        secrets = [n for n in evidence.settings.secrets if n in names] or (
            [target] if target in names else names
        )
        number = min(evidence.settings.attacks, sides(evidence))
        if len(names) < 2 or number < MIN_ATTEMPTS:
            return self.unavailable(f"needs 2 columns and {MIN_ATTEMPTS} holdout rows", gate_n=number)
        attacks = {str(name): _attack(evidence, str(name), number) for name in secrets}
        risks = {name: risk(attempts, evidence.confidence)[0] for name, attempts in attacks.items()}
        worst = max(risks, key=lambda name: risks[name])
        method = (
            f"all other columns known, one neighbour; interval corrected for the choice among {len(attacks)}"
            " secrets"
        )
        result = attack_result(
            AttributeInference, attacks[worst], evidence, method, chosen_among=len(attacks), secret=worst
        )
        return result.model_copy(update={"per_column": risks})


def _attack(evidence: TableEvidence, secret: str, number: int) -> Attempts:
    features, limit = evidence.real.all_features, evidence.settings.limits.neighbour_rows
    j = [c.name for c in features.columns].index(secret)
    slices = evidence.real.space.groups
    known = np.concatenate([np.arange(s.start, s.stop) for name, s in slices.items() if name != secret])
    # All columns but the secret: what the attacker knows.
    fake_points = evidence.points("synthetic", limit)[:, known]
    fake = features.matrix(evidence.table("synthetic", limit))[:, j]
    reach = 0.0 if features.categorical[j] else TOLERANCE * _spread(floats(evidence.real.train[secret]))
    hits = []
    for side in ("train", "holdout"):
        targets = evidence.points(side, number)[:, known]
        truth = features.matrix(evidence.table(side, number))[:, j]
        hits.append(_right(fake[nearest(targets, fake_points)[1][:, 0]], truth, reach=reach))
    truth = features.matrix(evidence.table("train", number))[:, j]
    # The baseline draws from the synthetic column: even its margin is knowledge.
    guess = fake[evidence.rng(42).integers(len(fake), size=number)]
    return Attempts(main=hits[0], control=hits[1], baseline=_right(guess, truth, reach=reach), number=number)


def _spread(values: Floats) -> float:
    """A column's spread; infinite for a constant, of which only the share counts."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return float("inf")
    low, high = np.quantile(finite, [0.25, 0.75])
    return float(high - low) / 1.349 or float(finite.std()) or float("inf")


def _right(guess: Floats, truth: Floats, *, reach: float) -> int:
    """How many guesses are right: no farther off than `reach` and TOLERANCE of the truth allow."""
    # That nothing is known is a secret that can be guessed too.
    both_missing = np.isnan(guess) & np.isnan(truth)
    close = np.abs(guess - truth) <= np.minimum(TOLERANCE * np.abs(truth), reach)
    return int(np.count_nonzero(close | both_missing))
