"""report.html of a search: what was picked and why, and every trial beside it."""

import warnings
from importlib import resources
from typing import Any

from jinja2 import Environment

from synthmill.errors import RecipeError
from synthmill.tuning import figures
from synthmill.tuning.propose import importance_evaluator, make_study
from synthmill.tuning.record import Record, Trial
from synthmill.tuning.selection import Pick
from synthmill.tuning.space import MODEL, Space

LEAST_TRIALS = 8
"""Whole trainings of a family below which importance would be noise."""


def report_html(record: Record, chosen: Pick | None, space: Space, about: dict[str, Any]) -> str:
    """The page; it needs no other file and no script."""
    trials = record.searched
    marks = {0: "d"} | ({chosen.number: "p"} if chosen else {})
    states = [trial.state for trial in trials]
    counts = f"{len(trials)} trials: " + ", ".join(
        f"{states.count(state)} {state}"
        for state in ("complete", "stopped", "failed", "running")
        if states.count(state)
    )
    source = (resources.files("synthmill") / "tuning/templates/search.html.jinja").read_text("utf-8")
    return (
        Environment(autoescape=True)
        .from_string(source)
        .render(
            about=about,
            chosen=chosen,
            counts=counts,
            seconds=round(record.seconds),
            standings=_standings(chosen),
            figures=_figures(space, trials, marks, about["objective"].split(", ")),
            trials=[_row(trial) for trial in trials],
        )
    )


def _figures(
    space: Space, trials: list[Trial], marks: dict[int, str], objectives: list[str]
) -> list[dict[str, str]]:
    found = [
        _figure(
            "Quality over time",
            "Each dot is a trial's last look; the line is the best whole training so far. Green: the pick;"
            " orange: the default; rings break a limit.",
            figures.over_time(trials, marks),
        )
    ]
    if len(objectives) >= 2:
        found.append(
            _figure(
                "Pareto front",
                "Higher is better on both axes; the line joins trials that no other beats in everything.",
                figures.front(trials, objectives, marks),
            )
        )
    for family in space.families:
        found.append(
            _figure(
                f"Configurations of {family}",
                "A line for each trial through its values, the score on the right.",
                figures.coordinates(space, family, trials, marks),
            )
        )
        shares = importance(space, family, trials)
        if shares:
            found.append(
                _figure(
                    f"What matters in {family}",
                    "PED-ANOVA (arXiv 2304.10255): how much each parameter alone tells the better trials"
                    " from the others.",
                    figures.importance_bars(shares),
                )
            )
    return found


def importance(space: Space, family: str, trials: list[Trial]) -> dict[str, float]:
    """Parameter -> its share of the importance; empty with too few whole trainings, or without Optuna."""
    whole = [trial for trial in trials if trial.whole is not None and trial.point[MODEL] == family]
    if len(whole) < LEAST_TRIALS or not space.families[family]:
        return {}
    alone = Space(space.recipe, {family: space.families[family]}, space.fixed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = make_study(alone, whole, len(whole[0].scores[-1].values), None)
            found = importance_evaluator().evaluate(
                study, target=lambda trial: sum(trial.values) / len(trial.values)
            )
    except (RecipeError, ValueError):
        return {}  # Every trial has the same score, or the package is not installed: no bars.
    total = sum(found.values())
    return {name: value / total for name, value in found.items()} if total else {}


def _figure(title: str, text: str, svg: str) -> dict[str, str]:
    return {"title": title, "text": text, "svg": svg}


def _standings(chosen: Pick | None) -> list[dict[str, str]]:
    return [
        {
            "name": f"{s.number} (default)" if s.number == 0 else str(s.number),
            "searched": _number(s.searched),
            "seeds": str(s.seeds),
            "repeated": _number(s.repeated),
            "gain": _number(s.gain),
            "bound": _number(s.bound),
            "shrinkage": _number(s.shrinkage),
        }
        for s in (chosen.standings if chosen else ())
        if s.seeds
    ]


def _row(trial: Trial) -> dict[str, str]:
    last = trial.last
    figures_ = {} if last is None else dict(last.figures)
    values = {key: value for key, value in trial.point.items() if key != MODEL}
    return {
        "name": f"{trial.number} (default)" if trial.number == 0 else str(trial.number),
        "origin": trial.origin,
        "state": trial.state if last is None or last.feasible else f"{trial.state}, breaks a limit",
        "reason": trial.reason,
        "score": "" if last is None else _number(last.mean),
        "share": "" if last is None else f"{last.share:.0%}",
        "figures": ", ".join(f"{name} {value:.3f}" for name, value in figures_.items()),
        "point": f"{trial.point[MODEL]}: "
        + ", ".join(f"{name.partition('.')[2]} {_short(value)}" for name, value in values.items()),
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
