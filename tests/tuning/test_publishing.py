"""A first usable model within a tenth of the budget, then only better ones, and not one for every step."""

from pathlib import Path
from typing import Any

from synthmill.tuning.budget import Costs
from synthmill.tuning.publishing import due
from synthmill.tuning.record import Trial
from synthmill.tuning.search import Search
from tuning_cases import Clock, search_in, space_of, verdict

BUDGET = 1000.0


class Searched:
    """A search of 1000 s whose looks end when a test says so; what is due is published."""

    def __init__(self, folder: Path, whole_seconds: float, **tune: Any) -> None:
        self.clock = Clock()
        space = space_of(tune={"budget_seconds": BUDGET, "confirm_share": 0, "sampler": "random", **tune})
        self.search: Search = search_in(
            folder, self.clock, space=space, costs=Costs(whole_seconds - 1, 1.0), at_once=2
        )
        self.whole_seconds = whole_seconds

    def begin(self) -> tuple[float, ...]:
        proposal = self.search.next()
        assert proposal is not None
        return proposal.shares

    def look(self, number: int, share: float, score: float, *, at: float, **limits: float) -> Trial | None:
        self.clock.now = at
        self.search.report(number, share, verdict(score, **limits), 1.0)
        trial = due(self.search.record, self.search.config, seconds=at, whole_seconds=self.whole_seconds)
        if trial is not None and trial.last is not None:
            last = trial.last
            self.search.journal.append(
                "published",
                ref="t@1",
                number=trial.number,
                share=last.share,
                score=last.mean,
                final=False,
                why="",
            )
        return trial

    @property
    def published(self) -> list[tuple[int, float, float]]:
        return [(p["number"], p["share"], p["score"]) for p in self.search.record.published]


def test_a_default_that_is_trained_in_time_comes_first_and_alone(tmp_path: Path) -> None:
    search = Searched(tmp_path, 50.0)
    assert search.begin() == (1.0,)
    search.begin()
    assert search.look(1, 1 / 9, 0.9, at=10) is None
    search.look(0, 1.0, 0.5, at=60)
    assert search.published == [(0, 1.0, 0.5)]


def test_where_no_training_ends_in_time_the_first_look_is_published(tmp_path: Path) -> None:
    search = Searched(tmp_path, 400.0)
    assert search.begin()[0] < 1.0
    search.look(0, 1 / 9, 0.2, at=50)
    assert search.published == [(0, 1 / 9, 0.2)]
    assert search.search.record.published[0]["seconds"] <= BUDGET / 10


def test_only_better_ones_follow_whatever_share_they_had(tmp_path: Path) -> None:
    search = Searched(tmp_path, 400.0)
    search.begin()
    search.begin()
    search.look(0, 1 / 9, 0.5, at=50)
    search.look(1, 1 / 9, 0.9, at=60)
    search.look(1, 1 / 3, 0.9, at=200)
    # A whole training that turned out worse than the first look.
    assert search.look(1, 1.0, 0.4, at=400) is None
    search.look(0, 1 / 3, 0.6, at=450)
    search.look(0, 1.0, 0.7, at=600)
    assert search.published == [(0, 1 / 9, 0.5), (0, 1.0, 0.7)]


def test_a_better_one_that_came_too_soon_is_published_later_and_not_the_one_that_came_then(
    tmp_path: Path,
) -> None:
    search = Searched(tmp_path, 50.0)
    for _ in range(4):
        search.begin()
    search.look(0, 1.0, 0.5, at=60)
    assert search.look(1, 1.0, 0.8, at=70) is None
    assert search.look(2, 1.0, 0.6, at=165) is search.search.record.trials[1]
    assert search.look(3, 1.0, 0.7, at=400) is None
    assert search.published == [(0, 1.0, 0.5), (1, 1.0, 0.8)]


def test_without_a_time_limit_a_tenth_of_the_trials_counts(tmp_path: Path) -> None:
    search = Searched(tmp_path, 50.0, budget_seconds=None, max_trials=20)
    for _ in range(5):
        search.begin()
    search.look(0, 1.0, 0.1, at=1)
    for number in range(1, 5):
        search.look(number, 1.0, 0.1 + 0.1 * number, at=2.0 + number)
    assert [number for number, *_ in search.published] == [0, 2, 4]


def test_what_breaks_a_limit_is_never_published(tmp_path: Path) -> None:
    search = Searched(tmp_path, 400.0)
    search.begin()
    search.begin()
    search.look(0, 1 / 9, 0.9, at=50, copies=0.2)
    assert search.published == []
    search.look(1, 1 / 9, 0.3, at=60)
    assert search.published == [(1, 1 / 9, 0.3)]
