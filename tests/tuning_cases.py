"""Searches without Ray: records, journals and verdicts that tests of tuning share."""

from pathlib import Path
from typing import Any

from synthmill.config import Recipe, parse_model
from synthmill.storage.folder import Folder
from synthmill.tuning.budget import Costs
from synthmill.tuning.journal import Journal
from synthmill.tuning.record import Score
from synthmill.tuning.scoring import Verdict
from synthmill.tuning.search import Proposal, Search
from synthmill.tuning.space import Space, make_space

NEVER = 0.0


def recipe(**changes: Any) -> Recipe:
    raw = {
        "name": "t",
        "data": {"source": "t.csv", "target": "y"},
        "model": {"name": "tvae"},
        "tune": {"max_trials": 6, "concurrency": 1},
    }
    return parse_model(Recipe, {**raw, **changes})


def space_of(**changes: Any) -> Space:
    return make_space(recipe(**changes))


def score(*values: float, share: float = 1.0, **violations: float) -> Score:
    return Score(share, values, violations)


def verdict(*values: float, **violations: float) -> Verdict:
    return Verdict(values, violations, {})


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def search_in(
    folder: Path, clock: Clock | None = None, *, space: Space | None = None, **options: Any
) -> Search:
    """A search of a folder; made again it goes on with what the folder's journal says."""
    journal = Journal(Folder(folder), clock or Clock())
    settings = {"rungs": (1 / 9, 1 / 3, 1.0), "costs": Costs(9.0, 1.0), "at_once": 1, **options}
    return Search(space or space_of(), journal, **settings)


def worth(proposal: Proposal, share: float) -> float:
    """A surface whose best is at learning_rate 0.003, seen more clearly with more training, and noisier by
    seed."""
    rate = float(proposal.point.get("tvae.learning_rate", 1e-3))
    return share * (1 - abs(rate - 0.003) * 100) + 0.001 * (proposal.seed % 7)


def drive(search: Search, most: int = 10**6) -> list[Proposal]:
    """Do what a search proposes, until it has nothing more; `most` looks at the most."""
    given: list[Proposal] = []
    while most > 0 and (proposal := search.next()) is not None:
        given.append(proposal)
        for share in proposal.shares[proposal.done :]:
            most -= 1
            if not search.report(proposal.number, share, verdict(worth(proposal, share)), 1.0) or most == 0:
                break
    return given
