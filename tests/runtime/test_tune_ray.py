"""What is said of a trial whose process was lost, from what Ray says of it."""

from pathlib import Path

import pytest

from synthmill.runtime.tune_ray import why_lost

HEAD = "Failure # 1 (occurred at 2026-01-01_00-00-00)\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "1 worker(s) were killed due to the node running low on memory. Memory on the node was 7 / 23 GB",
            "out of memory: Ray ended its process, as its machine's memory was nearly full",
        ),
        (
            "The actor died unexpectedly before finishing this task.\n\tpid: 7\nThe actor is dead because its"
            " worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly"
            " exits with a connection error code 2.",
            "its process was killed, as systems do when memory runs out, or crashed",
        ),
        (
            "The actor 23d7 is unavailable: The actor is temporarily unavailable: RpcError: Socket closed",
            "its process can't be reached any more, and may be lost with its machine",
        ),
        (
            "The actor died unexpectedly before finishing this task.\n\tpid: 7\nThe actor died because its"
            " node has died. Node Id: 7",
            "its process was lost with its machine",
        ),
        ("The actor can't say\nwhat it was", "its process was lost: what it was"),
        ("", "its process was lost"),
    ],
)
def test_a_lost_process_has_a_reason_of_one_line(tmp_path: Path, text: str, reason: str) -> None:
    said = tmp_path / "error.txt"
    said.write_text(HEAD + text)
    assert why_lost(said) == reason


def test_without_an_account_it_is_lost_all_the_same(tmp_path: Path) -> None:
    assert why_lost(tmp_path / "nothing.txt") == "its process was lost"
