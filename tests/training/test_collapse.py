"""Generators that lose all variety, or blow up, end the run with the last good checkpoint kept: provoked, on
every worker."""

import threading
from typing import Any

import pytest
import torch
from torch import Tensor

from encoded import MemoryFolder, Records, settings
from image_cases import digits, layout
from synthmill.data.batch import Batch
from synthmill.errors import TrainingError
from synthmill.models.base import GenerativeModel, build
from synthmill.training.checkpoint import Checkpoints
from synthmill.training.collapse import CollapseWatch
from synthmill.training.loop import train
from synthmill.training.parallel import Single
from synthmill.training.quality.base import Cost
from synthmill.training.quality.image import ImageQuality

STEPS, TURN, EVERY = 300, 160, 20


def test_coverage_that_was_there_and_stays_away_is_a_collapse() -> None:
    watch = CollapseWatch()
    assert [
        watch.see(step, {"coverage": value})
        for step, value in enumerate([0.0, 0.0, 0.0, 0.0, 0.29, 0.0, 0.0, 0.0])
    ] == [""] * 8
    assert not watch.suspicious, "coverage that was never there can't be lost"
    for step, value in enumerate([0.31, 0.04, 0.04, 0.06, 0.04, 0.04], start=8):
        assert watch.see(step, {"coverage": value}) == ""
    assert (watch.suspicious, watch.good_step) == (True, 11)
    assert "0.31" in watch.see(14, {"coverage": 0.049})


def test_tables_have_no_coverage_to_watch() -> None:
    watch = CollapseWatch()
    assert watch.see(1, {"score": 0.5}) == ""
    assert watch.good_step is None


def data() -> tuple[Batch, Batch]:
    pixels, labels = digits(600)
    whole = Batch(pixels=torch.from_numpy(pixels), label=torch.from_numpy(labels))
    return whole.take(slice(0, 450)), whole.take(slice(450, 600))


def turning(turn: Any) -> GenerativeModel:
    """A small VAE of digits whose loss becomes another one after TURN of STEPS steps."""
    torch.manual_seed(0)
    model = build(
        "vae",
        {"latent": 8, "channels": 16, "hidden": 64, "learning_rate": 3e-3},
        layout(classes=10, rows=450),
    )
    honest = model.loss

    def loss(phase: str, batch: Batch, *, rng: Any, progress: float) -> dict[str, Tensor]:
        return (
            turn(model, batch)
            if progress >= TURN / STEPS
            else honest(phase, batch, rng=rng, progress=progress)
        )

    model.loss = loss  # type: ignore[method-assign]
    return model


def to_gray(model: GenerativeModel, batch: Batch) -> dict[str, Tensor]:
    """Every image becomes the same."""
    noise = torch.cat([torch.randn(batch.num_rows, 8), torch.nn.functional.one_hot(batch["label"], 10)], 1)
    return {"gray": 100.0 * model.decoder(noise).flatten(1).square().mean(1)}


def run(model: GenerativeModel, folder: MemoryFolder, **others: Any) -> None:
    train_rows, validation = data()
    config = settings(
        max_epochs=100_000,
        max_steps=STEPS,
        global_batch_rows=50,
        check_every_steps=EVERY,
        checkpoint_seconds=1e-9,
    )
    quality = ImageQuality(layout(classes=10, rows=450), train_rows, validation, seed=0)
    given: dict[str, Any] = {"parallel": Single(), "reporter": Records(), **others}
    train(model, train_rows, config, checkpoints=Checkpoints(folder), quality=quality, **given)


def test_a_collapse_ends_the_run_and_keeps_the_last_good_checkpoint() -> None:
    folder, records = MemoryFolder(), Records()
    with pytest.raises(
        TrainingError, match=r"collapsed: coverage .* under 0\.05 for 3 checks.*last good checkpoint remains"
    ):
        run(turning(to_gray), folder, reporter=records)
    coverage = {
        record["step"]: record["quality"]["coverage"] for record in records.records if "quality" in record
    }
    good = max(step for step, value in coverage.items() if value >= 0.05)
    assert max(coverage.values()) > 0.3
    assert max(coverage) == good + 3 * EVERY, "it ended at the third check"
    kept = Checkpoints(folder).latest()
    assert kept is not None
    assert kept.data["step"] <= good, "a checkpoint of collapsed weights is of no use"
    with pytest.raises(TrainingError, match="collapsed"):
        run(turning(to_gray), folder)  # From that checkpoint: what coverage was, is in the history.


def test_weights_that_are_not_finite_are_never_a_checkpoint() -> None:
    folder = MemoryFolder()

    def infinite(model: GenerativeModel, batch: Batch) -> dict[str, Tensor]:
        """Finite itself; its gradient is not."""
        weight = model.decoder[0].weight
        return {"slope": (weight.sum() * 0.0).abs().sqrt().expand(batch.num_rows)}

    with pytest.raises(
        TrainingError, match=r"(weights became infinite|became nan).*last good checkpoint remains"
    ):
        run(turning(infinite), folder)
    kept = Checkpoints(folder).latest()
    assert kept is not None
    assert kept.data["step"] <= TURN
    assert all(bool(tensor.isfinite().all()) for tensor in kept.tensors.values())


class Threads:
    """Two workers as threads of one process; the second waits for what the first sends."""

    device = torch.device("cpu")
    world = 2
    waited_seconds = 0.0
    shares_weights = False

    def __init__(self, rank: int, meet: threading.Barrier, box: list[Tensor]) -> None:
        self.rank, self._meet, self._box = rank, meet, box

    def all_reduce_(self, flat: Tensor) -> None:
        self._meet.wait()
        if self.rank == 0:
            self._box[:] = [flat.clone()]
        self._meet.wait()
        if self.rank == 1:
            self._box[0] += flat
        self._meet.wait()
        flat.copy_(self._box[0])

    def broadcast_(self, tensor: Tensor) -> None:
        self._meet.wait()
        if self.rank == 0:
            self._box[:] = [tensor.clone()]
        self._meet.wait()
        tensor.copy_(self._box[0])

    def barrier(self) -> None:
        self._meet.wait()


def test_a_collapse_ends_every_worker() -> None:
    """Only worker 0 checks; a worker that did not learn of it would wait for ever."""
    meet, box, faults = threading.Barrier(2, timeout=60), [], {}
    train_rows, _ = data()
    config = settings(max_epochs=100_000, max_steps=20, global_batch_rows=50, check_every_steps=2)

    class Lost:
        """Images with coverage once, then none."""

        cost, preview = Cost(0, 10), None
        left = 3

        def __call__(self, model: GenerativeModel) -> dict[str, float]:
            self.left -= 1
            return {"score": 0.0, "noise": 0.01, "coverage": 0.9 if self.left > 1 else 0.0}

    models = [turning(to_gray) for _ in range(2)]

    def work(rank: int) -> None:
        try:
            train(
                models[rank],
                train_rows,
                config,
                parallel=Threads(rank, meet, box),
                reporter=Records(),
                quality=Lost(),
            )
        except TrainingError as fault:
            faults[rank] = str(fault)

    workers = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert sorted(faults) == [0, 1]
    assert "collapsed" in faults[0]
