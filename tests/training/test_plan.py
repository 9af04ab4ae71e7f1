import pytest

from encoded import settings
from synthmill.models.base import Adam, Phase, Stage
from synthmill.training.plan import make_plan
from synthmill.training.schedule import factor
from synthmill.training.selection import Candidate, Selection

PHASE = Phase(name="p", modules=("m",), optimizer=Adam(learning_rate=1.0))


def stages(*shares: float) -> tuple[Stage, ...]:
    return tuple(Stage(name=str(index), share=share, phases=(PHASE,)) for index, share in enumerate(shares))


def test_stages_share_the_steps_without_gaps() -> None:
    plan = make_plan(settings(max_epochs=10), stages(0.7, 0.2, 0.1), rows=1000, row_group=1, check_rows=0)
    assert plan.total_steps == 100
    assert [(span.first, span.last) for span in plan.stages] == [(0, 70), (70, 90), (90, 100)]
    assert [plan.at(step).stage.name for step in (0, 69, 70, 99)] == ["0", "0", "1", "2"]


def test_a_model_that_knows_when_to_end_ends_there_and_is_checked_there() -> None:
    ending = (Stage(name="one", share=1.0, phases=(PHASE,), most_epochs=7),)
    plan = make_plan(settings(max_epochs=300), ending, rows=1000, row_group=1, check_rows=0)
    assert plan.total_steps == 70
    # A few checks, as weights may have learnt rows by heart by the end; the last of equals is published.
    assert 70 / 8 <= plan.check_every_steps < 70
    assert plan.ends_well
    sooner = make_plan(settings(max_epochs=3), ending, rows=1000, row_group=1, check_rows=0)
    assert sooner.total_steps == 30
    asked = make_plan(settings(check_every_steps=20), ending, rows=1000, row_group=1, check_rows=0)
    assert asked.check_every_steps == 20


def test_batches_are_whole_row_groups_and_never_larger_than_the_data() -> None:
    assert (
        make_plan(settings(global_batch_rows=64), stages(1), rows=1000, row_group=10, check_rows=0).batch_rows
        == 60
    )
    small = make_plan(settings(global_batch_rows=500), stages(1), rows=47, row_group=10, check_rows=0)
    assert (small.batch_rows, small.steps_per_epoch) == (40, 1)
    assert (
        make_plan(settings(global_batch_rows=5), stages(1), rows=100, row_group=10, check_rows=0).batch_rows
        == 10
    )


def test_checks_are_spaced_by_counts_alone_and_cost_a_twentieth_of_the_steps() -> None:
    plan = make_plan(
        settings(global_batch_rows=500, max_epochs=300), stages(1), rows=22_800, row_group=10, check_rows=4096
    )
    assert plan.total_steps == 13_500
    assert 400 <= plan.check_every_steps <= 700
    short = make_plan(
        settings(global_batch_rows=500, max_epochs=3), stages(1), rows=22_800, row_group=10, check_rows=4096
    )
    assert 100 <= short.check_every_steps < short.total_steps == 135, "checks take a quarter of a short run"
    asked = make_plan(settings(check_every_steps=7), stages(1), rows=1000, row_group=1, check_rows=4096)
    assert asked.check_every_steps == 7


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        ("constant", 50, 1.0),
        ("linear", 50, 0.5),
        ("cosine", 50, 0.5),
        ("cosine", 0, 1.0),
        ("cosine", 99, 0.000247),
    ],
)
def test_schedules(schedule: str, step: int, expected: float) -> None:
    assert factor(schedule, 0, step, 100) == pytest.approx(expected, abs=1e-5)  # type: ignore[arg-type]


def test_warm_up_rises_to_the_full_rate() -> None:
    rates = [factor("constant", 4, step, 100) for step in range(6)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def candidate(step: int, score: float, noise: float = 0.01) -> Candidate:
    return Candidate(step, score, noise, {}, {})


def test_the_earliest_within_noise_of_the_best_is_chosen() -> None:
    selection = Selection()
    for step, score in enumerate([0.50, 0.795, 0.80, 0.79, 0.804]):
        selection.add(candidate(step, score))
    assert selection.chosen is not None
    assert selection.best is not None
    assert (selection.chosen.step, selection.best.step) == (1, 4)
    selection.add(candidate(5, 0.82))
    assert selection.chosen.step == 5


def test_few_candidates_are_kept() -> None:
    selection = Selection()
    for step in range(50):
        selection.add(candidate(step, 0.5 + step * 1e-4))
    assert len(selection.candidates) == 4
    assert selection.chosen is not None
    assert selection.chosen.step == 0


def test_improvement_within_noise_is_no_improvement() -> None:
    selection = Selection()
    for step, score in enumerate([0.5, 0.505, 0.508]):
        selection.add(candidate(step, score))
    assert selection.checks_without_improvement == 2
    selection.add(candidate(3, 0.53))
    assert selection.checks_without_improvement == 0


def test_gains_that_add_up_are_an_improvement() -> None:
    selection = Selection()
    for step in range(40):
        selection.add(candidate(step, 0.5 + 0.004 * step))
        assert selection.checks_without_improvement < 4
    assert selection.best is not None
    assert selection.best.step == 39


def test_a_small_noise_by_chance_makes_no_improvement() -> None:
    selection = Selection()
    selection.add(candidate(0, 0.5, noise=0.01))
    selection.add(candidate(1, 0.505, noise=0.001))
    assert selection.checks_without_improvement == 1


def test_the_latest_of_equals_is_published_where_the_learning_rate_has_fallen() -> None:
    selection = Selection(latest=True)
    for step, score in enumerate([0.50, 0.80, 0.79, 0.70, 0.775]):
        selection.add(candidate(step, score))
    assert selection.chosen is not None
    assert selection.best is not None
    assert (selection.chosen.step, selection.best.step) == (4, 1)
    # What has surely become worse is not published, however late.
    for step, score in enumerate([0.6, 0.5, 0.4], start=5):
        selection.add(candidate(step, score))
    assert (selection.chosen.step, selection.worse_checks) == (4, 3), "0.775 is within three errors"
    selection.add(candidate(8, 0.9))
    assert (selection.chosen.step, selection.worse_checks) == (8, 0)


def test_patience_is_on_by_default_and_counts_by_how_the_learning_rate_goes() -> None:
    falling = Phase(name="p", modules=("m",), optimizer=Adam(learning_rate=1.0, schedule="cosine"))
    ends = (Stage(name="one", share=1.0, phases=(falling,)),)

    def patience(stated: object, of: tuple[Stage, ...]) -> tuple[int | None, bool]:
        plan = make_plan(settings(patience_checks=stated), of, rows=1000, row_group=1, check_rows=0)
        return plan.patience_checks, plan.falls

    assert patience(None, stages(1)) == (8, False)
    assert patience(None, ends) == (5, True)
    # What a recipe states is about checks without a gain, as it always was.
    assert patience(3, ends) == (3, False)
    assert patience("never", stages(1)) == (None, False)


def test_small_tables_get_smaller_batches_where_a_model_asks_for_them() -> None:
    small = (Stage(name="one", share=1.0, phases=(PHASE,), most_batch_rows=60),)
    config = settings(global_batch_rows=500, max_epochs=10)
    plan = make_plan(config, small, rows=600, row_group=1, check_rows=0)
    assert (plan.batch_rows, plan.steps_per_epoch) == (60, 10)
    assert make_plan(config, small, rows=600, row_group=8, check_rows=0).batch_rows == 56
