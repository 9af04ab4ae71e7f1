"""Can two parts of a person's record be linked through the synthetic rows?"""

import numpy as np

from synthmill.metrics.base import Result
from synthmill.metrics.lib.attacks import Attempts, attack_result, sides
from synthmill.metrics.lib.neighbours import Points, nearest
from synthmill.metrics.lib.table_evidence import TableEvidence, TableMetric

MIN_COLUMNS = 2
MIN_ATTEMPTS = 20


class Linkability(TableMetric):
    """The attacker holds a person's columns in two halves (a seeded split); success: both have one nearest
    synthetic row (arXiv 2211.10459, 3.2)."""

    name = "privacy.linkability"
    title = "Linkability"
    question = "Can two halves of one person's record be matched through the synthetic rows?"
    axis = "privacy"
    goal = "minimize"
    bounds = (0.0, 1.0)
    needs = ("holdout",)
    profile = "opt-in"
    advice = (
        "Synthetic rows stay close to single training rows in all columns: the generator memorises. See the"
        " near-copy test."
    )

    def compute(self, evidence: TableEvidence) -> Result:
        slices = evidence.real.space.groups
        number = min(evidence.settings.attacks, sides(evidence))
        if len(slices) < MIN_COLUMNS or number < MIN_ATTEMPTS:
            return self.unavailable(
                f"needs {MIN_COLUMNS} columns and {MIN_ATTEMPTS} holdout rows", gate_n=number
            )
        rng = evidence.rng(41)
        # A seeded split: halves that somebody chose could hide or make a link.
        order = [list(slices)[i] for i in rng.permutation(len(slices))]
        halves = [
            np.concatenate([np.arange(slices[n].start, slices[n].stop) for n in order[k::2]])
            for k in range(2)
        ]
        fake = evidence.points("synthetic", evidence.settings.limits.neighbour_rows)
        # Guessing: two synthetic rows drawn at random are the same one.
        first, second = (rng.integers(len(fake), size=number) for _ in range(2))
        attempts = Attempts(
            main=_linked(evidence.points("train", number), fake, halves),
            control=_linked(evidence.points("holdout", number), fake, halves),
            baseline=int(np.count_nonzero(first == second)),
            number=number,
        )
        return attack_result(
            Linkability,
            attempts,
            evidence,
            "columns in two random halves, one neighbour",
            halves=[sorted(order[0::2]), sorted(order[1::2])],
        )


def _linked(targets: Points, fake: Points, halves: list[np.ndarray]) -> int:
    first, second = (nearest(targets[:, half], fake[:, half])[1][:, 0] for half in halves)
    return int(np.count_nonzero(first == second))
