from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import pytest
import torch

from encoded import MemoryFolder, Records, layout, settings, table
from synthmill.config import TrainingConfig
from synthmill.errors import DataError, RecipeError, TrainingError
from synthmill.models.base import GenerativeModel, build
from synthmill.training.artifact import fitted
from synthmill.training.checkpoint import Checkpoints
from synthmill.training.loop import Outcome, train
from synthmill.training.parallel import Single
from synthmill.training.quality.base import Cost
from synthmill.training.run_state import LeavingError

SMALL = {"embedding_dim": 4, "compress_dims": [8], "decompress_dims": [8]}


def small() -> GenerativeModel:
    torch.manual_seed(0)
    return build("tvae", SMALL, layout())


def run(config: TrainingConfig, **others: object) -> Outcome:
    return train(small(), table(), config, **{"parallel": Single(), "reporter": Records(), **others})  # type: ignore[arg-type]


def same(left: Outcome, right: Outcome) -> bool:
    return left.state_dict.keys() == right.state_dict.keys() and all(
        torch.equal(value, right.state_dict[name]) for name, value in left.state_dict.items()
    )


def test_two_runs_are_equal_to_the_bit_and_another_seed_is_not() -> None:
    first = run(settings())
    assert same(first, run(settings()))
    assert not same(first, run(settings(seed=1)))


def test_a_resumed_run_equals_an_uninterrupted_one() -> None:
    folder = MemoryFolder()
    whole = run(settings(max_epochs=3))
    steps = iter([False] * 30 + [True] * 100)

    class InterruptError(Exception):
        pass

    def interrupt() -> bool:
        if next(steps):
            raise InterruptError
        return False

    often = settings(max_epochs=3, checkpoint_seconds=1e-9)
    with pytest.raises(InterruptError):
        run(often, checkpoints=Checkpoints(folder), should_stop=interrupt)
    records = Records()
    resumed = run(often, checkpoints=Checkpoints(folder), reporter=records)
    assert records.records[0] == {"message": "resumed at step 30 of 60"}
    assert same(whole, resumed)
    assert [record["step"] for record in resumed.history][-1] == 60


def test_workers_that_make_room_repeat_no_step_and_change_no_bit() -> None:
    folder, whole = MemoryFolder(), run(settings(max_epochs=3))
    orders: Iterator[Literal["", "save", "leave"]] = iter([""] * 9 + ["save"] + [""] * 15 + ["leave"])
    with pytest.raises(LeavingError) as left:
        run(settings(max_epochs=3), checkpoints=Checkpoints(folder), orders=lambda: next(orders))
    assert left.value.step == 26
    assert [name for name in folder.children() if name != "manifest.json"] == [
        "step-0000000010",
        "step-0000000026",
    ]
    records = Records()
    resumed = run(settings(max_epochs=3), checkpoints=Checkpoints(folder), reporter=records)
    assert records.records[0] == {"message": "resumed at step 26 of 60"}
    assert same(whole, resumed)


def test_without_checkpoints_nobody_leaves() -> None:
    assert run(settings(), orders=lambda: "leave").steps == 40


def test_a_damaged_checkpoint_costs_only_the_steps_since_the_one_before() -> None:
    folder = MemoryFolder()
    whole = run(settings(max_epochs=3))
    often = settings(max_epochs=3, checkpoint_seconds=1e-9)
    run(often, checkpoints=Checkpoints(folder))
    [kept, last] = folder.children()
    folder.files[f"{last}/state.json"] = b"{}"
    records = Records()
    resumed = run(often, checkpoints=Checkpoints(folder), reporter=records)
    assert records.records[0]["message"].startswith(
        f"checkpoint file {last}/state.json does not match its checksum: an older"
    )
    assert records.records[1] == {"message": f"resumed at step {int(kept.removeprefix('step-'))} of 60"}
    assert same(whole, resumed)
    assert Checkpoints(folder).latest() is not None


def test_resuming_a_finished_run_trains_nothing() -> None:
    checkpoints = Checkpoints(MemoryFolder())
    first = run(settings(), checkpoints=checkpoints)
    model = small()
    model.loss = None  # type: ignore[assignment,method-assign]
    again = train(model, table(), settings(), parallel=Single(), reporter=Records(), checkpoints=checkpoints)
    assert same(first, again)
    assert again.steps == first.steps == 40
    assert again.history == first.history


def test_a_checkpoint_of_another_recipe_is_not_resumed() -> None:
    checkpoints = Checkpoints(MemoryFolder())
    run(settings(), checkpoints=checkpoints, run_key="one")
    other = run(settings(max_epochs=1), checkpoints=checkpoints, run_key="two")
    assert other.steps == 20
    with pytest.raises(RecipeError, match=r"training\.resume"):
        run(settings(resume="always"), checkpoints=checkpoints, run_key="three")


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint() -> None:
    folder = MemoryFolder()
    model = small()
    honest = model.loss

    def poisoned(phase, batch, *, rng, progress):  # type: ignore[no-untyped-def]
        terms = honest(phase, batch, rng=rng, progress=progress)
        return {"codes": terms["codes"] * float("nan")} if progress > 0.5 else terms

    model.loss = poisoned  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match="elbo/codes became nan"):
        train(
            model,
            table(),
            settings(checkpoint_seconds=1e-9),
            parallel=Single(),
            reporter=Records(),
            checkpoints=Checkpoints(folder),
        )
    kept = Checkpoints(folder).latest()
    assert kept is not None
    assert 0 < kept.data["step"] <= 21
    assert all(bool(tensor.isfinite().all()) for tensor in kept.tensors.values())


def test_a_batch_larger_than_the_data_is_reduced_with_one_line() -> None:
    records = Records()
    outcome = run(settings(global_batch_rows=5000), reporter=records)
    assert outcome.steps == 2
    assert [record for record in records.records if "message" in record] == [
        {"message": "batch of 5000 rows reduced to 2000: 2000 training rows"}
    ]


def test_limits_end_a_run() -> None:
    assert run(settings(max_steps=7)).steps == 7
    assert run(settings(max_seconds=1e-9)).steps == 1
    answers = iter([False, False, True])
    assert run(settings(), should_stop=lambda: next(answers)).steps == 3


def test_an_interrupt_keeps_the_best_so_far_where_that_is_asked_for() -> None:
    def interrupted_at(step: int, **others: object) -> Outcome:
        left = iter(range(step - 1, -1, -1))

        def interrupt() -> bool:
            if next(left) == 0:
                raise KeyboardInterrupt
            return False

        return run(settings(check_every_steps=5), should_stop=interrupt, **others)

    checkpoints = Checkpoints(MemoryFolder())
    checked = interrupted_at(12, keep_interrupted=True, quality=Scores(0.8, 0.5), checkpoints=checkpoints)
    assert (checked.interrupted, checked.steps) == (True, 12)
    assert checked.best is not None
    assert checked.best["step"] == 5
    assert not checkpoints.exist(), "a step may be half done"
    unchecked = interrupted_at(12, keep_interrupted=True)
    assert unchecked.best is None
    assert same(unchecked, run(settings(max_steps=12)))
    with pytest.raises(KeyboardInterrupt):
        interrupted_at(12)


def test_no_rows_is_a_data_error() -> None:
    empty = table().take(slice(0, 0))
    with pytest.raises(DataError, match=r"data\.source: 0 training rows"):
        train(small(), empty, settings(), parallel=Single(), reporter=Records())


class Scores:
    """A quality check with given scores."""

    cost = Cost(0, 10)
    preview: bytes | None = None

    def __init__(self, *scores: float) -> None:
        self._scores = iter(scores)

    def __call__(self, model: GenerativeModel) -> dict[str, float]:
        return {"score": next(self._scores), "noise": 0.01}


def test_the_best_check_is_published() -> None:
    outcome = run(settings(check_every_steps=10), quality=Scores(0.5, 0.8, 0.805, 0.7))
    assert outcome.best is not None
    assert outcome.best["step"] == 30, "not 20, whose weights are half trained and within noise"
    assert [record["quality"]["score"] for record in outcome.history if "quality" in record] == [
        0.5,
        0.8,
        0.805,
        0.7,
    ]
    assert same(outcome, run(settings(check_every_steps=10), quality=Scores(0.1, 0.2, 0.8, 0.3)))


def test_patience_ends_a_run_that_stopped_improving() -> None:
    outcome = run(
        settings(check_every_steps=5, patience_checks=2), quality=Scores(*[0.5, 0.8, 0.7, 0.7, 0.9, 0.9])
    )
    assert outcome.steps == 20
    assert outcome.best is not None
    assert outcome.best["step"] == 10


FLAT = (0.5, 0.8, *[0.7] * 30)


def test_a_run_ends_by_itself_and_says_why() -> None:
    records = Records()
    outcome = run(settings(max_epochs=10, check_every_steps=5), quality=Scores(*FLAT), reporter=records)
    assert outcome.steps == 50, "eight checks after the best"
    assert outcome.best is not None
    assert outcome.best["step"] == 10
    why = "ended at step 50 of 200: the last 8 checks brought no gain beyond noise (training.patience_checks)"
    assert (outcome.ended, outcome.patience_checks) == (why, 8)
    assert records.records[-1] == {"message": f"training {why}"}
    summary = fitted(outcome).summary
    assert (summary["ended"], summary["patience_checks"]) == (why, 8)


def test_a_run_is_as_long_as_planned_where_the_recipe_says_so() -> None:
    records = Records()
    whole = settings(max_epochs=5, check_every_steps=5, patience_checks="never")
    outcome = run(whole, quality=Scores(*FLAT), reporter=records)
    assert (outcome.steps, outcome.ended, outcome.patience_checks) == (
        100,
        "ended at step 100, as planned",
        None,
    )
    assert not [record for record in records.records if "message" in record]


def test_the_clock_and_who_stops_a_run_are_told_apart() -> None:
    steps = iter([False] * 7 + [True])
    stopped = run(settings(), should_stop=lambda: next(steps))
    assert stopped.ended == "ended at step 8 of 40: it was told to stop"
    late = run(settings(max_seconds=1e-9))
    assert late.ended == "ended at step 1 of 40: training.max_seconds"


def test_patience_goes_on_where_a_checkpoint_left_it() -> None:
    folder = MemoryFolder()
    often = settings(max_epochs=10, check_every_steps=5, checkpoint_seconds=1e-9)
    steps = iter([False] * 32 + [True] * 100)

    class InterruptError(Exception):
        pass

    def interrupt() -> bool:
        if next(steps):
            raise InterruptError
        return False

    with pytest.raises(InterruptError):
        run(often, checkpoints=Checkpoints(folder), should_stop=interrupt, quality=Scores(*FLAT))
    resumed = run(often, checkpoints=Checkpoints(folder), quality=Scores(*FLAT[6:]))
    assert (resumed.steps, resumed.ended.partition(":")[0]) == (50, "ended at step 50 of 200")
    # A run that has ended says why when it is asked again.
    again = run(often, checkpoints=Checkpoints(folder), quality=Scores())
    assert (again.steps, again.ended) == (50, resumed.ended)


def test_patience_begins_with_the_last_stage() -> None:
    def staged() -> GenerativeModel:
        model = small()
        (stage,) = model.stages()
        first, last = replace(stage, name="first", share=0.5), replace(stage, name="last", share=0.5)
        model.stages = lambda: (first, last)  # type: ignore[method-assign]
        return model

    config = settings(max_epochs=10, check_every_steps=5)
    outcome = train(
        staged(),
        table(),
        config,
        parallel=Single(),
        reporter=Records(),
        quality=Scores(*[0.5] * 40),  # type: ignore[arg-type]
    )
    # Twenty checks up to step 100 say nothing; the next one begins, and eight that are no better follow.
    assert outcome.steps == 145


def test_what_a_check_is_compared_by_need_not_be_the_score_that_it_shows() -> None:
    class ByHeart(Scores):
        def __call__(self, model: GenerativeModel) -> dict[str, float]:
            scores = super().__call__(model)
            # Better by its score, but rows are learnt by heart.
            return {**scores, "selection": 0.2 if scores["score"] > 0.85 else scores["score"]}

    outcome = run(settings(check_every_steps=10), quality=ByHeart(0.5, 0.8, 0.9, 0.9))
    assert outcome.best is not None
    assert (outcome.best["step"], outcome.best["score"]) == (20, 0.8)
