"""report.html of a search: what was picked and why, and every trial beside it."""

import itertools
import warnings
from importlib import resources
from typing import Any

from jinja2 import Environment

from synthmill.errors import RecipeError
from synthmill.tuning import figures
from synthmill.tuning.order import ranked
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
        Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        .from_string(source)
        .render(
            about=about,
            chosen=chosen,
            counts=counts,
            seconds=round(record.seconds),
            standings=_standings(record, chosen),
            published=record.published,
            figures=_figures(space, record, marks, about["objective"].split(", ")),
            tables=[_table(space, family, trials, marks) for family in space.families],
        )
    )


def _figures(
    space: Space, record: Record, marks: dict[int, str], objectives: list[str]
) -> list[dict[str, str]]:
    trials = record.searched
    found = [
        _figure(
            "Quality over time",
            "Each dot is a trial's last look, pale where that was before the end of its training; the line is"
            " the best whole training so far. A dashed line: a model was published.",
            figures.over_time(trials, marks, record.published),
        )
    ]
    for first, second in itertools.combinations(range(len(objectives)), 2):
        found.append(
            _figure(
                "Pareto front"
                + (f": {objectives[first]}, {objectives[second]}" if len(objectives) > 2 else ""),
                "Whole trainings; higher is better on both axes (metrics that should be low or near a target"
                " are turned). The line joins trials that no other beats in everything.",
                figures.front(trials, objectives, marks, (first, second)),
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


def _standings(record: Record, chosen: Pick | None) -> list[dict[str, str]]:
    return [
        {
            "name": _name(s.number),
            "searched": _number(s.searched),
            "repeated": _number(s.repeated),
            "scores": ", ".join(_number(value) for _, value in sorted(record.repeats(s.number).items())),
            "gain": _signed(s.gain),
            "bound": _signed(s.bound),
            "shrinkage": _signed(s.shrinkage),
        }
        for s in (chosen.standings if chosen else ())
        if s.seeds
    ]


def _table(space: Space, family: str, trials: list[Trial], marks: dict[int, str]) -> dict[str, Any]:
    """Every trial of a family, the best first, with a column for each figure, limit and parameter."""
    there = _best_first([trial for trial in trials if trial.point[MODEL] == family])
    looked = [trial.last for trial in there if trial.last is not None]
    names = list(dict.fromkeys(name for score in looked for name in score.figures))
    limits = list(dict.fromkeys(name for score in looked for name in score.violations))
    rows = []
    for trial in there:
        last = trial.last
        seen, broken = (dict(last.figures), dict(last.violations)) if last else ({}, {})
        figures_ = [_number(seen.get(name)) for name in names]
        kept = ["" if name not in broken else "broken" if broken[name] > 0 else "kept" for name in limits]
        point = [figures.in_words(trial.point.get(name)) for name in space.families[family]]
        rows.append(
            {
                "kind": marks.get(trial.number, ""),
                "name": _name(trial.number),
                "state": trial.state,
                "reason": trial.reason,
                "cells": [
                    trial.origin,
                    _number(last.mean) if last else "",
                    f"{last.share:.0%}" if last else "",
                    f"{sum(score.seconds for score in trial.scores):.1f}",
                    *figures_,
                    *kept,
                    *point,
                ],
            }
        )
    shorts = [name.partition(".")[2] for name in space.families[family]]
    return {
        "family": family,
        "heads": ["from", "score", "training", "seconds", *names, *limits, *shorts],
        "fixed": {name.partition(".")[2]: figures.in_words(v) for name, v in space.fixed[family].items()},
        "rows": rows,
    }


def _best_first(trials: list[Trial]) -> list[Trial]:
    """Whole trainings by rank, then the longest of the others, those without a look last."""
    by_share: dict[float, list[Trial]] = {}
    for trial in trials:
        share = 2.0 if trial.whole else trial.last.share if trial.last else 0.0
        by_share.setdefault(share, []).append(trial)
    found = []
    for share in sorted(by_share, reverse=True):
        some = by_share[share]
        scores = [trial.last for trial in some if trial.last is not None]
        found += [some[index] for index in ranked(scores)] if share else some
    return found


def _name(number: int) -> str:
    return f"{number} (default)" if number == 0 else str(number)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"
