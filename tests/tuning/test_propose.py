"""Proposals follow from what is known: repeatable, conditional, aware of constraints and failures."""

import pytest

from synthmill.tuning.order import pareto, ranked, survives
from synthmill.tuning.propose import make_study, propose
from synthmill.tuning.record import Trial
from tuning_cases import score, space_of


def trials_of(space, count: int) -> list[Trial]:
    found: list[Trial] = []
    for number in range(count):
        point = propose(space, found, sampler="random", seed=1, objectives=1)
        value = -abs(point.get("tvae.learning_rate", 0.1) - 0.002)
        found.append(Trial(number, point, "random", 0, scores=[score(value)], state="complete"))
    return found


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_the_same_record_gives_the_same_proposal(sampler: str) -> None:
    space = space_of()
    seen = trials_of(space, 10)
    points = [propose(space, seen, sampler=sampler, seed=3, objectives=1) for _ in range(2)]
    assert points[0] == points[1]
    assert space.has(points[0])
    assert propose(space, seen, sampler=sampler, seed=4, objectives=1) != points[0]


def test_a_conditional_space_proposes_one_familys_parameters() -> None:
    space = space_of(tune={"models": ["tvae", "ctgan"]})
    seen = trials_of(space, 12)
    assert {trial.point["model"] for trial in seen} == {"tvae", "ctgan"}
    assert all(space.has(trial.point) for trial in seen)
    assert space.has(propose(space, seen, sampler="tpe", seed=0, objectives=1))


def test_several_objectives_and_constraints_reach_the_sampler() -> None:
    space = space_of()
    seen = [
        Trial(n, t.point, "", 0, scores=[score(0.1 * n, -0.1 * n, copies=1.0 - n)], state="complete")
        for n, t in enumerate(trials_of(space, 10))
    ]
    study = make_study(space, seen, 2, None)
    assert [trial.constraints for trial in study.trials[:2]] == [{"copies": 1.0}, {"copies": 0.0}]
    # Trial 0 breaks its limit, so that it is on no front.
    assert {trial.number for trial in study.best_trials} == set(range(1, 10))
    assert space.has(propose(space, seen, sampler="tpe", seed=0, objectives=2))


def test_stopped_running_and_failed_trials_are_told_as_what_they_are() -> None:
    space = space_of()
    first, second, third = trials_of(space, 3)
    stopped = Trial(0, first.point, "", 0, scores=[score(0.5, share=1 / 9)], state="stopped")
    running = Trial(1, second.point, "", 0)
    failed = Trial(2, third.point, "", 0, state="failed", reason="nan")
    study = make_study(space, [stopped, running, failed], 1, None)
    assert [trial.state.name for trial in study.trials] == ["PRUNED", "RUNNING", "FAIL"]
    assert study.trials[0].intermediate_values == {111: 0.5}


def test_points_beyond_the_space_are_left_out() -> None:
    space = space_of(tune={"space": {"learning_rate": {"low": 0.1, "high": 0.2}}})
    default = Trial(0, space.default("tvae"), "default", 0, scores=[score(1.0)], state="complete")
    assert make_study(space, [default], 1, None).trials == []


def test_order_puts_broken_limits_last_and_knows_fronts() -> None:
    scores = [score(0.9, copies=2.0), score(0.5, copies=-1.0), score(0.7)]
    assert ranked(scores) == [2, 1, 0]
    two = [score(1.0, 0.0), score(0.0, 1.0), score(0.4, 0.4), score(0.3, 0.3)]
    assert pareto(two) == [0, 1, 2]
    assert ranked(two)[-1] == 3


def test_a_third_survives_a_rung_and_nobody_waits() -> None:
    assert survives(score(0.1), [], 3)
    others = [score(0.1 * n) for n in range(8)]
    assert survives(score(0.65), others, 3)
    assert not survives(score(0.35), others, 3)
