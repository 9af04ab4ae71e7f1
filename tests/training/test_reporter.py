import io
from pathlib import Path

import numpy as np
import pytest

from synthmill.data import png
from synthmill.training.reporter import Console, Fanout, TensorBoard


def test_console_prints_messages_and_checks_always_and_losses_now_and_then() -> None:
    stream = io.StringIO()
    console = Console(stream, every_seconds=3600)
    console.log({"message": "batch reduced"})
    console.log({"step": 10, "elbo/codes": 1.23456})
    console.log({"step": 20, "elbo/codes": 1.2})
    console.log({"step": 20, "quality": {"score": 0.91234, "noise": 0.01}})
    assert stream.getvalue().splitlines() == [
        "batch reduced",
        "step 10: elbo/codes 1.235",
        "step 20: score 0.9123 noise 0.01",
    ]


def test_every_reporter_of_a_fanout_gets_every_record(tmp_path: Path) -> None:
    records = [{"step": 1, "loss": 0.5}, {"step": 2, "quality": {"score": 0.9}}]
    board = TensorBoard(tmp_path / "events")
    stream = io.StringIO()
    fanout = Fanout(Console(stream), board)
    for record in records:
        fanout.log(record)
    board.close()
    assert stream.getvalue().splitlines() == ["step 1: loss 0.5", "step 2: score 0.9"]
    (events,) = (tmp_path / "events").iterdir()
    assert b"quality/score" in events.read_bytes()
    assert b"loss" in events.read_bytes()


@pytest.mark.parametrize("shape", [(12, 16), (12, 16, 3)], ids=["gray", "colour"])
def test_previews_become_images_of_tensorboard(tmp_path: Path, shape: tuple[int, ...]) -> None:
    board = TensorBoard(tmp_path)
    board.log({"step": 3, "preview": png.encode(np.full(shape, 128, np.uint8))})
    board.flush()
    (events,) = tmp_path.iterdir()
    content = events.read_bytes()
    assert b"samples" in content
    assert b"\x89PNG" in content
    board.close()
