"""The page of a search shows every trial beside the others, whatever became of it."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from synthmill.tuning.report import report_html
from synthmill.tuning.search import Search
from synthmill.tuning.selection import pick
from synthmill.tuning.space import MODEL
from tuning_cases import Clock, search_in, space_of, verdict, worth

OBJECTIVES = ["tabular.pair_gap", "utility.tstr_ratio"]
FAILED, SEARCHED = 5, 64


class Page(HTMLParser):
    """Cells of a page's tables, and whether every element is closed."""

    VOID = ("meta", "br", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        return

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data


def searched(folder: Path, *, feasible: bool = True) -> Search:
    """Two families and two objectives; one trial fails, one breaks a limit, some stop early."""
    space = space_of(
        tune={
            "max_trials": SEARCHED,
            "models": ["tvae", "ctgan"],
            "objective": OBJECTIVES,
            "sampler": "random",
        }
    )
    clock = Clock()
    search = search_in(folder, clock, space=space, objectives=2)
    while (proposal := search.next()) is not None:
        clock.now += 7.0
        if proposal.number == FAILED:
            search.failed(FAILED, "TrainingError: the loss became <nan> & stayed")
            continue
        for share in proposal.shares:
            value = worth(proposal, share)
            broken = 0.0 if feasible and proposal.number != FAILED + 1 else 0.3
            seen = verdict(value, -abs(value - 0.4) + 0.01 * (proposal.number % 5), copies=broken)
            seen.figures.update(pair_gap=value, tstr=value / 2)
            if not search.report(proposal.number, share, seen, 3.5):
                break
    search.journal.append(
        "published", ref="t@1", number=0, share=1.0, score=0.5, final=False, why="the best so far"
    )
    return search


def page_of(search: Search) -> str:
    about = {
        "search": "t-0123456789ab/1",
        "source": "s3://bucket/a <b>.csv",
        "objective": ", ".join(OBJECTIVES),
        "terms": OBJECTIVES,
        "sampler": "random",
        "seed": 0,
        "rungs": [0.111, 0.333, 1.0],
    }
    return report_html(search.record, pick(search.record), search.space, about)


def test_every_trial_stands_in_the_table_of_its_family(tmp_path: Path) -> None:
    search = searched(tmp_path)
    text = page_of(search)
    page = Page(text)
    heads = [row for row in page.rows if row[:2] == ["trial", "state"]]
    assert len(heads) == 2
    for family, head in zip(("tvae", "ctgan"), heads, strict=True):
        assert head[-len(search.space.families[family]) - 1 : -1] == [
            name.partition(".")[2] for name in search.space.families[family]
        ]
        assert {"pair_gap", "tstr", "copies", "score", "training", "seconds"} <= set(head)
        first = page.rows.index(head) + 1
        numbers = [trial.number for trial in search.record.searched if trial.point[MODEL] == family]
        rows = page.rows[first : first + len(numbers)]
        assert sorted(int(row[0].split()[0]) for row in rows) == numbers
        assert {len(row) for row in rows} == {len(head)}
        # The best first, those that were stopped early below all whole ones.
        assert [row[1] == "complete" for row in rows] == sorted(
            (r[1] == "complete" for r in rows), reverse=True
        )


def test_failures_limits_the_default_and_shrinkage_are_shown(tmp_path: Path) -> None:
    search = searched(tmp_path)
    text = page_of(search)
    rows = Page(text).rows
    assert any(row[:1] == ["0 (default)"] for row in rows)
    assert "TrainingError: the loss became <nan> & stayed" in [row[-1] for row in rows if row[1] == "failed"]
    assert any("broken" in row for row in rows)
    assert "s3://bucket/a &lt;b&gt;.csv" in text
    repeats = next(row for row in rows if row[:2] == ["trial", "search score"])
    assert repeats[-2:] == ["shrinkage", "score by seed"]
    assert any(row[0] == "t@1" for row in rows)


def test_there_is_a_figure_of_each_kind(tmp_path: Path) -> None:
    search = searched(tmp_path)
    text = page_of(search)
    assert "Quality over time" in text
    assert "Pareto front" in text
    for family in ("tvae", "ctgan"):
        lines = re.search(rf'aria-label="configurations of {family}".*?</svg>', text, re.DOTALL)
        assert lines is not None
        drawn = [t for t in search.record.searched if t.point[MODEL] == family and t.last is not None]
        assert lines[0].count("<polyline") == len(drawn)
    assert "What matters in" in text
    assert "<script" not in text
    # Of the page itself: nothing is loaded from anywhere.
    assert not re.search(r'(src|href)="', text)


@pytest.mark.parametrize("feasible", [False, True])
def test_a_search_that_ended_nowhere_has_a_page_too(tmp_path: Path, feasible: bool) -> None:
    search = search_in(tmp_path / "empty", space=space_of())
    Page(page_of(search))
    search.next()
    search.failed(0, "out of memory")
    assert "out of memory" in page_of(search)
    Page(page_of(searched(tmp_path / "none", feasible=feasible)))
