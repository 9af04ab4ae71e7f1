from pathlib import Path
from typing import Any

import pytest
import yaml

from encoded import layout, settings
from synthmill.config import Recipe, dump, load_recipe
from synthmill.library.recipes import read_recipe
from synthmill.models.base import Adam, Phase, Stage, build
from synthmill.training.plan import Plan, make_plan
from synthmill.training.quality.base import Cost
from synthmill.training.schedule import factor
from synthmill.training.selection import Candidate, Selection

PHASE = Phase(name="p", modules=("m",), optimizer=Adam(learning_rate=1.0))


def stages(*shares: float) -> tuple[Stage, ...]:
    return tuple(Stage(name=str(index), share=share, phases=(PHASE,)) for index, share in enumerate(shares))


def test_stages_share_the_steps_without_gaps() -> None:
    plan = make_plan(settings(max_epochs=10), stages(0.7, 0.2, 0.1), rows=1000, row_group=1)
    assert plan.total_steps == 100
    assert [(span.first, span.last) for span in plan.stages] == [(0, 70), (70, 90), (90, 100)]
    assert [plan.at(step).stage.name for step in (0, 69, 70, 99)] == ["0", "0", "1", "2"]


def test_a_model_that_knows_when_to_end_ends_there_and_is_checked_there() -> None:
    ending = (Stage(name="one", share=1.0, phases=(PHASE,), most_epochs=7),)
    plan = make_plan(settings(max_epochs=300), ending, rows=1000, row_group=1)
    assert plan.total_steps == 70
    # A few checks, as weights may have learnt rows by heart by the end; the last of equals is published.
    assert 70 / 8 <= plan.check_every_steps < 70
    assert plan.ends_well
    dear = make_plan(settings(max_epochs=300), ending, 1000, 1, lambda batch_rows: 10.0)
    assert dear.check_every_steps == 24, "three at least"
    sooner = make_plan(settings(max_epochs=3), ending, rows=1000, row_group=1)
    assert sooner.total_steps == 30
    asked = make_plan(settings(check_every_steps=20), ending, rows=1000, row_group=1)
    assert asked.check_every_steps == 20


def test_batches_are_whole_row_groups_and_never_larger_than_the_data() -> None:
    assert make_plan(settings(global_batch_rows=64), stages(1), rows=1000, row_group=10).batch_rows == 60
    small = make_plan(settings(global_batch_rows=500), stages(1), rows=47, row_group=10)
    assert (small.batch_rows, small.steps_per_epoch) == (40, 1)
    assert make_plan(settings(global_batch_rows=5), stages(1), rows=100, row_group=10).batch_rows == 10


def test_checks_are_spaced_by_counts_alone_and_cost_a_twentieth_of_the_steps() -> None:
    def plan(epochs: int, **others: int) -> Plan:
        config = settings(global_batch_rows=500, max_epochs=epochs, **others)
        return make_plan(config, stages(1), 22_800, 10, Cost(3, 1000).in_steps)

    whole, short, shortest = plan(300), plan(20), plan(2)
    assert (whole.total_steps, whole.check_every_steps) == (13_500, 540), "25 checks at most"
    # A check takes five steps.
    assert (short.total_steps, short.check_every_steps) == (900, 100)
    assert (shortest.total_steps, shortest.check_every_steps) == (90, 100), "at its end alone"
    assert plan(300, check_every_steps=7).check_every_steps == 7


def test_what_is_fitted_at_each_check_is_counted() -> None:
    def steps(components: int) -> float:
        model = build("tvae", {"mixture_components": components}, layout())
        assert model.finish_steps(1_000_000, 500) == model.finish_steps(5_000_000, 500), "on bounded samples"
        return model.finish_steps(1_000_000, 500)

    assert steps(20) == pytest.approx(20 * steps(1), rel=0.01)
    assert build("autoregressive", {}, layout()).finish_steps(10**6, 500) == 0


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


def test_the_best_is_chosen_and_nothing_else_is_kept() -> None:
    selection = Selection()
    for step, score in enumerate([0.50, 0.795, 0.80, 0.79, 0.804, 0.804]):
        selection.add(candidate(step, score))
        assert len(selection.candidates) == 1
    assert selection.chosen is not None
    assert selection.chosen.step == 4, "of equals the first"
    selection.add(candidate(6, 0.82))
    assert selection.chosen.step == 6


def test_of_the_candidates_of_an_older_checkpoint_the_best_is_chosen() -> None:
    selection = Selection([candidate(1, 0.80), candidate(2, 0.805)])
    selection.add(candidate(3, 0.7))
    assert selection.chosen is not None
    assert selection.chosen.step == 2


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
        plan = make_plan(settings(patience_checks=stated), of, rows=1000, row_group=1)
        return plan.patience_checks, plan.falls

    assert patience(None, stages(1)) == (8, False)
    assert patience(None, ends) == (5, True)
    # What a recipe states is about checks without a gain, as it always was.
    assert patience(3, ends) == (3, False)
    assert patience("never", stages(1)) == (None, False)


def test_small_tables_get_smaller_batches_where_a_model_asks_for_them() -> None:
    small = (Stage(name="one", share=1.0, phases=(PHASE,), most_batch_rows=60),)
    config = settings(global_batch_rows=500, max_epochs=10)
    plan = make_plan(config, small, rows=600, row_group=1)
    assert (plan.batch_rows, plan.steps_per_epoch) == (60, 10)
    assert make_plan(config, small, rows=600, row_group=8).batch_rows == 56


def test_a_batch_that_is_stated_is_heeded_even_if_it_is_the_default(tmp_path: Path) -> None:
    small = (Stage(name="one", share=1.0, phases=(PHASE,), most_batch_rows=60),)

    def rows_of(recipe: Recipe) -> int:
        return make_plan(recipe.training, small, rows=600, row_group=1).batch_rows

    plain: dict[str, Any] = {"name": "x", "data": {"source": "rows.csv"}, "model": {"name": "auto"}}
    silent, stated = (read_recipe(plain, words) for words in ([], ["training.global_batch_rows=500"]))
    assert (rows_of(silent), rows_of(stated)) == (60, 500)
    # A recipe that was resolved and written out has every default in it, and stays what it was.
    for recipe in (silent, stated):
        assert read_recipe(recipe) == read_recipe(dump(recipe)) == recipe
    assert read_recipe(dump(silent), {"training.global_batch_rows": 500}) == stated
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump({**plain, "training": {"global_batch_rows": 500}}))
    assert rows_of(load_recipe(str(file))) == 500
    assert "batch_as_stated" not in dump(silent)["training"], "fingerprints of recipes from before stay"
