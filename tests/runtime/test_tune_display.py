"""What a person sees of a search: a table of the best on a terminal, a line for each look elsewhere."""

import re
from pathlib import Path

import pytest

from processes import on_terminal
from synthmill.runtime.progress import say
from synthmill.runtime.tune_display import Board
from synthmill.tuning.search import Search
from tuning_cases import search_in, space_of, verdict


def watched(folder: Path) -> Search:
    """A search that a person watches: the default, one that fails, one that breaks a limit, and two more."""
    space = space_of(tune={"max_trials": 5, "confirm_share": 0, "sampler": "random", "portfolio": False})
    search = search_in(folder, space=space, rungs=(1.0,))
    with Board(search, search.costs, 1) as board:
        while (proposal := search.next()) is not None:
            number = proposal.number
            if number == 1:
                search.failed(number, "out of memory: 9 GB")
            else:
                seen = verdict(0.5 + 0.01 * number, copies=0.3 if number == 2 else 0.0)
                search.report(number, 1.0, seen, 2.0)
            board.heard(number)
        say("published t@1: trial 4")
    say('{"status": "done"}')
    return search


def test_a_terminal_gets_a_table_of_the_best_and_lines_above_it(tmp_path: Path) -> None:
    script = "import pathlib, runpy\n"
    script += f"runpy.run_path({__file__!r})['watched'](pathlib.Path({str(tmp_path)!r}))"
    text = on_terminal(script, columns=120)
    assert "\x1b[" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")
    assert "5 of about 5 trials" in plain
    last = plain[plain.rindex("5 of about 5 trials") :]
    numbers = re.findall(r"^│ (\d) ", last, re.MULTILINE)
    # The best first; what breaks a limit last, what failed not at all.
    assert numbers == ["4", "3", "0", "2"]
    assert "published t@1: trial 4" in plain
    assert plain.strip().splitlines()[-1].endswith('{"status": "done"}')


def test_elsewhere_each_look_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watched(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 5 + 2
    assert lines[1] == "trial 0 tvae, default: score 0.5000 after 100%, 2.0 s, complete, best 0.5000"
    assert lines[2] == "trial 1 tvae, random: failed, out of memory: 9 GB"
    assert lines[3].endswith("complete, breaks a limit, best 0.5000")
    assert lines[5].endswith("complete, best 0.5400")
