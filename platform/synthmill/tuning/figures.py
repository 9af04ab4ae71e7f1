"""Inline SVG of a search: every mark has a title that says what it is, colours are the page's."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from synthmill.training.space import Choice, Range
from synthmill.tuning.order import pareto
from synthmill.tuning.record import Trial
from synthmill.tuning.space import MODEL, Space

WIDTH, HEIGHT = 960, 300
LEFT, TOP = 50, 24


def over_time(trials: Sequence[Trial], marks: Mapping[int, str]) -> str:
    """Score of every look against the time of the search, and the best so far."""
    looked = [trial for trial in trials if trial.last is not None and trial.ended]
    if not looked:
        return _svg([], "no trial has ended")
    scores = [trial.last.mean for trial in looked if trial.last is not None]
    low, high = min(scores), max(scores)
    last = max(trial.ended for trial in looked)
    parts = _frame(f"{low:.3g}", f"{high:.3g}", f"{last:.0f} s")
    path: list[str] = []
    best = float("-inf")
    for trial in sorted(looked, key=lambda trial: trial.ended):
        assert trial.last is not None
        x, y = _x(trial.ended / last), _y(_share(trial.last.mean, low, high))
        parts.append(_dot(x, y, _class(trial, marks), _title(trial)))
        if trial.whole is not None and trial.whole.feasible and trial.whole.mean > best:
            path.append(f"{x:.1f},{_y(_share(max(best, low), low, high)):.1f}" if path else "")
            best = trial.whole.mean
            path.append(f"{x:.1f},{y:.1f}")
    points = " ".join([*filter(None, path), f"{_x(1):.1f},{_y(_share(max(best, low), low, high)):.1f}"])
    if path:
        parts.append(f'<polyline class="best" points="{points}"><title>the best so far</title></polyline>')
    return _svg(parts, "score of every trial over time")


def coordinates(space: Space, family: str, trials: Sequence[Trial], marks: Mapping[int, str]) -> str:
    """A line for each trial through its values, the score last (parallel coordinates)."""
    there = [trial for trial in trials if trial.point.get(MODEL) == family and trial.last is not None]
    names = [*space.families[family], "score"]
    scores = [trial.last.mean for trial in there if trial.last is not None] or [0.0]
    low, high = min(scores), max(scores)
    parts = []
    for index, name in enumerate(names):
        x = _x(index / max(1, len(names) - 1))
        where = space.families[family].get(name)
        bottom, top = _ends(where) if where is not None else (f"{low:.3g}", f"{high:.3g}")
        anchor = "start" if index == 0 else "end" if index == len(names) - 1 else "middle"
        label = escape(name.partition(".")[2] or name)
        parts += [
            f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_y(0)}" y2="{_y(1)}"/>',
            f'<text x="{x:.1f}" y="{TOP - 10}" text-anchor="{anchor}">{label} ({escape(top)})</text>',
            f'<text x="{x:.1f}" y="{HEIGHT - 4}" text-anchor="{anchor}">{escape(bottom)}</text>',
        ]
    # Marked trials last, so that no other line covers them.
    for trial in sorted(there, key=lambda trial: marks.get(trial.number, "")):
        assert trial.last is not None
        places = [_place(space.families[family][name], trial.point.get(name)) for name in names[:-1]]
        places.append(_share(trial.last.mean, low, high))
        points = " ".join(
            f"{_x(index / max(1, len(names) - 1)):.1f},{_y(place):.1f}" for index, place in enumerate(places)
        )
        # Fainter for lower scores: what the good ones share is seen at once.
        strength = "" if trial.number in marks else f' stroke-opacity="{0.12 + 0.7 * places[-1] ** 2:.2f}"'
        parts.append(
            f'<polyline class="{_class(trial, marks)}"{strength} points="{points}">'
            f"<title>{_title(trial)}</title></polyline>"
        )
    return _svg(parts, f"configurations of {family}")


def importance_bars(importance: Mapping[str, float]) -> str:
    """A bar for each parameter."""
    parts = []
    for index, (name, value) in enumerate(sorted(importance.items(), key=lambda item: -item[1])):
        y = TOP + 24 * index
        parts += [
            f'<text x="240" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="bar" x="250" y="{y}" width="{max(1.0, 560 * value):.1f}" height="16">'
            f"<title>{escape(name)}: {value:.1%}</title></rect>",
            f'<text x="{260 + 560 * value:.1f}" y="{y + 12}">{value:.0%}</text>',
        ]
    return _svg(parts, "importance of each parameter", height=TOP + 24 * len(importance) + 8)


def front(trials: Sequence[Trial], names: Sequence[str], marks: Mapping[int, str]) -> str:
    """Two objectives against each other, with those that nothing dominates joined."""
    whole = [trial for trial in trials if trial.whole is not None]
    scores = [trial.whole for trial in whole if trial.whole is not None]
    if not scores:
        return _svg([], "no trial was finished")
    sides = [[score.values[side] for score in scores] for side in (0, 1)]
    spans = [(min(side), max(side)) for side in sides]

    def at(index: int) -> tuple[float, float]:
        x, y = (_share(sides[side][index], *spans[side]) for side in (0, 1))
        return _x(x), _y(y)

    parts = _frame(f"{spans[1][0]:.3g}", f"{spans[1][1]:.3g}", f"{names[0]} up to {spans[0][1]:.3g}")
    parts.append(f'<text x="{LEFT}" y="{TOP - 10}">{escape(names[1])}</text>')
    best = sorted(pareto(scores), key=lambda index: sides[0][index])
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, best))
    parts.append(f'<polyline class="best" points="{points}"><title>the Pareto front</title></polyline>')
    parts += [_dot(*at(i), _class(trial, marks), _title(trial)) for i, trial in enumerate(whole)]
    return _svg(parts, "Pareto front")


def _place(where: Range | Choice, value: Any) -> float:
    if isinstance(where, Choice):
        known = tuple(value) if isinstance(value, list) else value
        index = where.options.index(known) if known in where.options else 0
        return index / max(1, len(where.options) - 1)
    if value is None:
        return 0.0
    if where.log:
        return _share(math.log(max(value, 1e-300)), math.log(where.low), math.log(where.high))
    return _share(value, where.low, where.high)


def _ends(where: Range | Choice) -> tuple[str, str]:
    if isinstance(where, Choice):
        return str(where.options[0]), str(where.options[-1])
    return f"{where.low:g}", f"{where.high:g}"


def _share(value: float, low: float, high: float) -> float:
    return 0.5 if high <= low else min(1.0, max(0.0, (value - low) / (high - low)))


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - 2 * LEFT)


def _y(share: float) -> float:
    return HEIGHT - 20 - share * (HEIGHT - 20 - TOP)


def _frame(low: str, high: str, last: str) -> list[str]:
    return [
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - LEFT}" y1="{_y(0)}" y2="{_y(0)}"/>',
        f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="{_y(0)}" y2="{_y(1)}"/>',
        f'<text x="{LEFT - 4}" y="{_y(0)}" text-anchor="end">{escape(low)}</text>',
        f'<text x="{LEFT - 4}" y="{_y(1) + 8}" text-anchor="end">{escape(high)}</text>',
        f'<text x="{WIDTH - LEFT}" y="{HEIGHT - 4}" text-anchor="end">{escape(last)}</text>',
    ]


def _dot(x: float, y: float, kind: str, title: str) -> str:
    size = 4 if kind in ("t", "b") else 6
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{size}"><title>{title}</title></circle>'


def _class(trial: Trial, marks: Mapping[int, str]) -> str:
    broken = trial.last is not None and not trial.last.feasible
    return marks.get(trial.number, "b" if broken else "t")


def _title(trial: Trial) -> str:
    assert trial.last is not None
    said = f"trial {trial.number} ({trial.origin}): {trial.last.mean:.4f} after {trial.last.share:.0%}"
    return escape(said + ("" if trial.last.feasible else ", breaks a limit"))


def _svg(parts: Sequence[str], label: str, *, height: int = HEIGHT) -> str:
    inner = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">{inner}</svg>'
