"""What people see of a job: a bar that moves on a terminal, plain lines elsewhere, and every message of a run
however short."""

from pathlib import Path
from threading import Event

import pytest

from processes import on_terminal
from synthmill.runtime.history import FolderReporter, Shown, TensorBoardFolder, follow
from synthmill.runtime.progress import Progress
from synthmill.storage.folder import Folder

SCRIPT = """
from synthmill.runtime.progress import Progress, say
with Progress("generating", 3) as bar:
    for done in range(4):
        bar.update(done, "score 0.9")
    bar.say("a message")
say('{"status": "done"}')
"""


def test_a_terminal_gets_a_bar_and_the_closing_line_last() -> None:
    text = on_terminal(SCRIPT)
    assert "\x1b[" in text
    assert "3/3" in text
    assert "a message" in text
    assert text.strip().splitlines()[-1].endswith('{"status": "done"}')


def test_elsewhere_it_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("generating", 3) as bar:
        for done in range(4):
            bar.update(done, "score 0.9")
        bar.update(3, "score 0.9")
        bar.say("a message")
    assert capsys.readouterr().out == "generating: 0/3  score 0.9\ngenerating: 3/3  score 0.9\na message\n"


def test_the_last_record_of_a_short_run_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Folder(tmp_path)

    class EndsAfterTheFirstLook(Event):
        """A run that writes its only record, and ends, while nobody looks."""

        def wait(self, timeout: float | None = None) -> bool:
            if not self.is_set() and timeout:
                reporter = FolderReporter(folder)
                reporter.log({"message": "batch of 500 rows reduced to 80: 80 training rows"})
                reporter.log({"step": 7, "quality": {"score": 0.5}})
                reporter.close()
                self.set()
            return self.is_set()

    with Progress("training", 7) as bar:
        follow(folder, bar, EndsAfterTheFirstLook())
    assert (
        capsys.readouterr().out
        == "batch of 500 rows reduced to 80: 80 training rows\ntraining: 7/7  score 0.5\n"
    )


def test_tensorboard_events_are_all_in_the_run_folder(every_store: str) -> None:
    """Not only those that the writer happened to have put on disk when they were copied."""
    folder = Folder(every_store)
    board = TensorBoardFolder(folder)
    board.log({"step": 1, "elbo/codes": 1.5})
    board.close()
    board.log({"step": 2, "quality": {"score": 0.5}})
    board.close()
    [events] = folder.list("tensorboard/")
    content = folder.read_bytes(events.path)
    assert b"elbo/codes" in content
    assert b"quality/score" in content


def test_a_worker_that_takes_the_place_of_another_is_heard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, told = Shown(Progress("training", 100)), Folder(str(tmp_path))
    for step in (40, 60):
        worker = FolderReporter(told)
        worker.log({"message": f"resumed at step {step} of 100"})
        worker.close()
        shown.update(told.read_json("live.json"))
        shown.update(told.read_json("live.json"))
    assert capsys.readouterr().out == "resumed at step 40 of 100\nresumed at step 60 of 100\n"
