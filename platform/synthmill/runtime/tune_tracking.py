"""A search in experiment trackers: a run for each trial, from the process that leads the search.

Not from the trials' own processes: a tracker that hangs would cost each of them its time, and nobody reads
what they say.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from synthmill.runtime.progress import say
from synthmill.training.tracker_process import FAILED, FINISHED, KILLED
from synthmill.training.trackers import Run, Trackers, asked_for
from synthmill.tuning.record import State, Trial

MOST_RECORDS = 200
"""Of one training that travel to the trackers; more than a curve on a screen can show."""
STATUS: dict[State, str] = {"complete": FINISHED, "stopped": KILLED, "failed": FAILED}


class Tracking:
    """Trackers of one search; nothing at all where none is asked for."""

    def __init__(self, experiment: str, search: str) -> None:
        self._experiment, self._search = experiment, search
        self._trackers = Trackers(say)
        self._runs: dict[int, Run] = {}
        self._told: dict[int, int] = {}

    def heard(self, trial: Trial, history: Sequence[Mapping[str, Any]]) -> None:
        """A trial was looked at, or ended."""
        if not asked_for():
            return
        if trial.number not in self._runs:
            facts: dict[str, Any] = {"search": self._search, "origin": trial.origin, "seed": trial.seed}
            facts |= {} if trial.of is None else {"repeats": trial.of}
            name = f"{self._search} trial {trial.number}"
            self._runs[trial.number] = self._trackers.run(self._experiment, name, facts | trial.point)
        run = self._runs[trial.number]
        for record in self._news(trial, history):
            run.log(record)
        if trial.state in STATUS:
            run.end(STATUS[trial.state])

    def _news(self, trial: Trial, history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Records of a look: the curves of its training, then what it was worth, by per cent of the steps."""
        known = self._told.get(trial.number, 0)
        self._told[trial.number] = len(trial.scores)
        found: list[dict[str, Any]] = []
        for score in trial.scores[known:]:
            percent = round(100 * score.share)
            # Each look is a training of its own: its curves begin at step 0 again.
            curves = [
                {"step": r["step"], f"training_{percent}": {k: v for k, v in r.items() if k != "step"}}
                for r in history
                if "step" in r
            ]
            worth = {"score": score.mean, "seconds": score.seconds, "feasible": int(score.feasible)}
            found += [*curves, {"step": percent, **worth, "figures": dict(score.figures)}]
        return found

    def close(self) -> None:
        """Send what is left, within seconds for all trials together."""
        self._trackers.close()


def thinned(history: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What of a training's history travels from its process to the trackers: nothing where there are none."""
    if not asked_for():
        return []
    every = -(-len(history) // MOST_RECORDS)
    return list(history[:: max(1, every)])
