"""What a person sees of a search: a table of the best on a terminal, a line for every look elsewhere."""

import sys
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from synthmill.runtime.progress import say
from synthmill.tuning.budget import Costs, trials_in
from synthmill.tuning.order import ranked
from synthmill.tuning.record import Trial
from synthmill.tuning.search import Search, family_of

SHOWN = 5


class Board:
    """`with Board(...) as board: board.heard(number)` after each report."""

    def __init__(self, search: Search, costs: Costs, at_once: int) -> None:
        self._search = search
        self._expected = trials_in(search.config, costs, search.rungs, at_once)
        self._live: Live | None = None

    def __enter__(self) -> "Board":
        say(f"about {self._expected} trials")
        if sys.stdout.isatty():
            self._live = Live(self._table(), console=Console(), refresh_per_second=2)
            self._live.start()
        return self

    def heard(self, number: int) -> None:
        """A trial was looked at, or ended."""
        if self._live is not None:
            self._live.update(self._table())
        else:
            say(self.line(self._search.record.trials[number]))

    def line(self, trial: Trial) -> str:
        """One trial in one line."""
        what = f"trial {trial.number}" + (f" (again {trial.of})" if trial.of is not None else "")
        what += f" {family_of(trial)}, {trial.origin}: "
        if trial.last is None or trial.state == "failed":
            return what + f"{trial.state}, {trial.reason}"
        broken = "" if trial.last.feasible else ", breaks a limit"
        best = self._best()
        beside = f", best {best[0].last.mean:.4f}" if best and best[0].last is not None else ""
        return (
            f"{what}score {trial.last.mean:.4f} after {trial.last.share:.0%},"
            f" {trial.last.seconds:.1f} s, {trial.state}{broken}{beside}"
        )

    def _best(self) -> list[Trial]:
        whole = [trial for trial in self._search.record.searched if trial.whole is not None]
        scores = [trial.whole for trial in whole if trial.whole is not None]
        return [whole[index] for index in ranked(scores)]

    def _table(self) -> Table:
        record = self._search.record
        done = sum(trial.state != "running" for trial in record.searched)
        table = Table(title=f"{done} of about {self._expected} trials, {record.seconds:.0f} s")
        for heading in ("trial", "model", "from", "score", "figures", "seconds"):
            table.add_column(heading)
        for trial in self._best()[:SHOWN]:
            score: Any = trial.whole
            figures = ", ".join(f"{name} {value:.3f}" for name, value in score.figures.items())
            table.add_row(
                str(trial.number),
                family_of(trial),
                trial.origin,
                f"{score.mean:.4f}",
                figures,
                f"{score.seconds:.1f}",
            )
        return table

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
