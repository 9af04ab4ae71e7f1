"""The course of a search, and that it survives whatever ends a process."""

import json
from pathlib import Path

import pytest

from synthmill.errors import ClaimLostError, IntegrityError, RecipeError
from synthmill.storage.folder import Folder
from synthmill.tuning.budget import Costs, for_repeats, repeats_in, require_one, rungs_of, trials_in
from synthmill.tuning.journal import Journal, read_events, replay
from synthmill.tuning.search import FirstPoint, Search
from synthmill.tuning.selection import paired, pick
from tuning_cases import Clock, drive, recipe, search_in, space_of, verdict

TEN = {"max_trials": 10, "concurrency": 1}


def points(folder: Path) -> list[tuple[int, str, str]]:
    record = replay(read_events(Folder(folder)))
    return [
        (trial.number, json.dumps(trial.point), trial.state) for _, trial in sorted(record.trials.items())
    ]


def test_a_search_ends_with_repeats_and_picks_what_surely_gains(tmp_path: Path) -> None:
    search = search_in(tmp_path, space=space_of(tune=TEN))
    given = drive(search)
    assert given[0].point == space_of().default("tvae")
    assert given[0].shares == (1.0,)
    record = search.record
    assert len(record.searched) == 10
    assert {trial.state for trial in record.searched} == {"complete", "stopped"}
    assert record.confirming is not None
    seeds = record.confirming["seeds"]
    # Fresh seeds, the same for every candidate and the default, and other validation rows with each.
    assert seeds == [1, 2, 3]
    assert {p.fold for p in given if record.trials[p.number].of is None} == {None}
    assert [p.fold for p in given if p.fold is not None] == [
        t.seed for t in record.trials.values() if t.of is not None
    ]
    assert set(record.repeats(0)) == set(seeds)
    chosen = pick(record)
    assert chosen is not None
    assert chosen.number == record.confirming["candidates"][0]
    assert "at least +" in chosen.why


@pytest.mark.parametrize("looks", [1, 2, 5, 9, 15])
def test_a_search_that_is_cut_off_does_the_same_in_two_processes(tmp_path: Path, looks: int) -> None:
    """No finished trial is lost or run twice, and the proposals are those of an undisturbed search."""
    space = space_of(tune=TEN)
    drive(search_in(tmp_path / "whole", space=space))
    first = drive(search_in(tmp_path / "cut", space=space), most=looks)
    again = drive(search_in(tmp_path / "cut", space=space))
    assert points(tmp_path / "cut") == points(tmp_path / "whole")
    twice = {p.number for p in first} & {p.number for p in again}
    # Only the one that was under way is given again.
    assert twice <= {first[-1].number}
    events = read_events(Folder(tmp_path / "cut"))
    ended = [e["number"] for e in events if e["event"] == "score" and e["state"] != "running"]
    assert len(ended) == len(set(ended))


def test_a_trial_under_way_goes_on_behind_the_looks_it_had(tmp_path: Path) -> None:
    space = space_of(tune=TEN)
    search = search_in(tmp_path, space=space)
    search.report(search.next().number, 1.0, verdict(0.1), 1.0)
    trial = search.next()
    assert search.report(trial.number, trial.shares[0], verdict(0.5), 1.0)
    resumed = search_in(tmp_path, space=space).next()
    assert (resumed.number, resumed.done) == (trial.number, 1)


def test_a_trial_that_lost_its_process_is_given_again_behind_its_looks(tmp_path: Path) -> None:
    search = search_in(tmp_path, space=space_of(tune=TEN))
    first = search.next()
    search.report(first.number, 1.0, verdict(0.1), 1.0)
    trial = search.next()
    assert search.report(trial.number, trial.shares[0], verdict(0.5), 1.0)
    again = search.again(trial.number)
    assert (again.number, again.point, again.done) == (trial.number, trial.point, 1)
    # What has ended is not begun again, nor is anything once the search is over.
    assert search.again(first.number) is None
    search.stop()
    assert search.again(trial.number) is None


def test_first_points_come_before_the_sampler_and_once(tmp_path: Path) -> None:
    space = space_of()
    point = {**space.default("tvae"), "tvae.learning_rate": 3e-3}
    search = search_in(tmp_path, first=[FirstPoint(point, "portfolio"), FirstPoint(point, "earlier")])
    drive(search)
    origins = [trial.origin for trial in search.record.searched]
    assert origins[:2] == ["default", "portfolio"]
    assert "earlier" not in origins


def test_failed_trials_are_kept_with_their_reason_and_nothing_waits_for_them(tmp_path: Path) -> None:
    search = search_in(tmp_path)
    search.report(search.next().number, 1.0, verdict(0.5), 1.0)
    broken = search.next()
    search.failed(broken.number, "the loss became nan")
    search.failed(broken.number, "heard twice")
    drive(search)
    assert search.record.trials[broken.number].reason == "the loss became nan"
    assert broken.number not in search.record.confirming["candidates"]


def test_what_breaks_a_limit_is_never_picked(tmp_path: Path) -> None:
    search = search_in(tmp_path, space=space_of(tune={"max_trials": 2, "concurrency": 1}))
    search.report(search.next().number, 1.0, verdict(0.2, copies=-1.0), 1.0)
    copier = search.next()
    for share in copier.shares:
        search.report(copier.number, share, verdict(0.9, copies=1.0), 1.0)
    drive(search)
    assert pick(search.record).number == 0


def test_time_that_ends_leaves_the_best_so_far(tmp_path: Path) -> None:
    clock = Clock()
    tune = {"budget_seconds": 100.0, "concurrency": 1}
    search = search_in(tmp_path, clock, space=space_of(tune=tune))
    first = search.next()
    # A training takes a tenth of the budget: it is done at once, so that something is usable by then.
    assert first.shares == (1.0,)
    search.report(first.number, 1.0, verdict(0.3), 10.0)
    clock.now = 78.0
    assert search.next() is None
    # 22 s are left of the whole, and a training takes 10: two repeats decide nothing, so there are none.
    assert search.record.confirming == {"candidates": [], "seeds": []}
    assert not search.waits
    assert pick(search.record).number == 0


def test_what_trainings_are_seen_to_take_is_kept_for_repeats(tmp_path: Path) -> None:
    clock = Clock()
    space = space_of(tune={"budget_seconds": 100.0, "concurrency": 1})
    search = search_in(tmp_path, clock, space=space)
    search.report(search.next().number, 1.0, verdict(0.3), 12.0)
    second = search.next()
    for share in second.shares:
        search.report(second.number, share, verdict(0.5), 12.0)
    # The guess was 10 s: 40 s for two seeds of two configurations. It takes 48.
    clock.now = 52.0
    assert search.next().fold == search.record.confirming["seeds"][0]
    assert search.record.confirming["candidates"] == [second.number]


def test_the_default_is_looked_at_early_where_a_training_takes_long(tmp_path: Path) -> None:
    tune = {"budget_seconds": 50.0, "concurrency": 1}
    search = search_in(tmp_path, space=space_of(tune=tune))
    first = search.next()
    assert first.shares[0] < 0.2
    search.report(first.number, first.shares[0], verdict(0.1), 2.0)
    search.failed(first.number, "the time budget ended", state="stopped")
    search.stop()
    assert "none was finished" in pick(search.record).why


def test_the_bound_of_few_noisy_pairs_is_wide() -> None:
    default = {1: 0.5, 2: 0.6, 3: 0.4}
    steady = {1: 0.52, 2: 0.62, 3: 0.42}
    noisy = {1: 0.8, 2: 0.5, 3: 0.5}
    alone = paired(default, {7: steady})
    assert alone[7][0] == pytest.approx(0.02)
    assert alone[7][1] == pytest.approx(0.02)
    assert paired(default, {8: noisy})[8][1] < 0 < paired(default, {8: noisy})[8][0]
    assert paired(default, {9: {1: 0.9}}) == {}


def test_two_writers_of_a_journal_do_not_mix(tmp_path: Path) -> None:
    one, other = (Journal(Folder(tmp_path), Clock()) for _ in range(2))
    one.append("begin", settings={"a": 1})
    with pytest.raises(ClaimLostError, match="another process"):
        other.append("begin", settings={"a": 2})


def test_a_journal_works_in_every_store_and_misses_no_hole(every_store: str) -> None:
    folder = Folder(every_store)
    journal = Journal(folder, Clock())
    for number in range(3):
        journal.append("trial", number=number, point={"model": "tvae"}, origin="default", seed=0)
    assert list(replay(read_events(folder)).trials) == [0, 1, 2]
    folder.delete("events/00000001.json")
    with pytest.raises(IntegrityError, match="missing"):
        read_events(folder)


def test_budgets_hold_what_they_hold() -> None:
    config, costs = recipe(tune={"budget_seconds": 1800.0}).tune, Costs(70.0, 5.0)
    rungs = rungs_of(config, 1800)
    assert rungs == (1 / 9, 1 / 3, 1.0)
    # Looks after a handful of steps would stop configurations by chance.
    assert rungs_of(config, 1790) == (1 / 3, 1.0)
    assert rungs_of(config, 590) == (1.0,)
    rows = recipe(tune={"fidelity": "rows"}).tune
    assert rungs_of(rows, 18) == (1 / 9, 1 / 3, 1.0)
    assert 60 < trials_in(config, costs, rungs, 2) < 110
    assert trials_in(recipe(tune={"max_trials": 7}).tune, costs, rungs, 2) == 7
    assert repeats_in(config, 400.0, 75.0, 2, best=3) == [2, 3]
    assert repeats_in(config, 100.0, 75.0, 2, best=3) == [0, 0]
    # A small budget keeps the time of two seeds of a candidate and the default, but half is the search's.
    assert for_repeats(config, 1800.0, 75.0, 2) == pytest.approx(405.0)
    assert for_repeats(config, 800.0, 75.0, 1) == 300.0
    assert for_repeats(config, 400.0, 75.0, 1) == 200.0
    assert for_repeats(recipe(tune={"confirm_share": 0}).tune, 400.0, 75.0, 1) == 0.0
    with pytest.raises(RecipeError, match=r"tune\.budget_seconds: 60 s hold no trial"):
        require_one(recipe(tune={"budget_seconds": 60.0}).tune, costs)


@pytest.mark.parametrize("repeats", [0.0, 0.3])
def test_a_default_that_breaks_a_limit_is_not_picked_either(tmp_path: Path, repeats: float) -> None:
    """Neither when nothing else is there, nor the default because nothing gains on it."""
    space = space_of(tune={"max_trials": 3, "confirm_share": repeats, "sampler": "random"})

    def searched(name: str, *, feasible: tuple[int, ...]) -> Search:
        search = search_in(tmp_path / name, space=space, rungs=(1.0,))
        while (proposal := search.next()) is not None:
            number = search.record.trials[proposal.number].of or proposal.number
            broken = -0.1 if number in feasible else 0.2
            search.report(proposal.number, 1.0, verdict(0.9 - 0.1 * number, copies=broken), 1.0)
        return search

    assert pick(searched("none", feasible=()).record) is None
    chosen = pick(searched("one", feasible=(2,)).record)
    assert chosen is not None
    assert chosen.number == 2
