"""Inline SVG of a search: every mark has a title that says what it is, colours are the page's."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from synthmill.training.space import Choice, Range
from synthmill.tuning.order import pareto
from synthmill.tuning.record import Trial
from synthmill.tuning.space import MODEL, Space

WIDTH, HEIGHT = 960, 340
LEFT, TOP, BOTTOM = 64, 52, 36


def over_time(
    trials: Sequence[Trial], marks: Mapping[int, str], published: Sequence[Mapping[str, Any]] = ()
) -> str:
    """Score of every look against the time of the search, the best so far, and when models came out."""
    looked = [trial for trial in trials if trial.last is not None and trial.ended]
    if not looked:
        return _svg([], "no trial has ended")
    scores = [trial.last.mean for trial in looked if trial.last is not None]
    low, high = min(scores), max(scores)
    last = max([trial.ended for trial in looked] + [version["seconds"] for version in published])
    parts = _frame((low, high), "score", (0.0, last), "seconds")
    for version in published:
        x = _x(version["seconds"] / last)
        said = escape(f"published {version['ref']} after {version['seconds']:.0f} s: {version['why']}")
        parts.append(
            f'<line class="out" x1="{x:.1f}" x2="{x:.1f}" y1="{_y(0)}" y2="{_y(1)}"><title>{said}</title>'
            "</line>"
        )
    path: list[str] = []
    best = float("-inf")
    dots = []
    for trial in sorted(looked, key=lambda trial: trial.ended):
        assert trial.last is not None
        x, y = _x(trial.ended / last), _y(_share(trial.last.mean, low, high))
        dots.append(_dot(x, y, trial, marks))
        if trial.whole is not None and trial.whole.feasible and trial.whole.mean > best:
            path += [f"{x:.1f},{_y(_share(best, low, high)):.1f}"] if path else []
            best = trial.whole.mean
            path.append(f"{x:.1f},{y:.1f}")
    if path:
        points = " ".join([*path, f"{_x(1):.1f},{_y(_share(best, low, high)):.1f}"])
        parts.append(f'<polyline class="best" points="{points}"><title>the best so far</title></polyline>')
    return _svg(parts + dots, "score of every trial over time")


def coordinates(space: Space, family: str, trials: Sequence[Trial], marks: Mapping[int, str]) -> str:
    """A line for each trial through its values, the score last (parallel coordinates)."""
    there = [trial for trial in trials if trial.point.get(MODEL) == family and trial.last is not None]
    names = [*space.families[family], "score"]
    scores = [trial.last.mean for trial in there if trial.last is not None] or [0.0]
    low, high = min(scores), max(scores)
    step = 1 / max(1, len(names) - 1)
    parts = []
    for index, name in enumerate(names):
        x = _x(index * step)
        where = space.families[family].get(name)
        bottom, top = _ends(where) if where is not None else (f"{low:.3g}", f"{high:.3g}")
        anchor = "start" if index == 0 else "end" if index == len(names) - 1 else "middle"
        label = escape(name.partition(".")[2] or name)
        # Names of neighbours stand on two heights, as they are wider than what lies between axes.
        above = TOP - (22 if index % 2 else 36)
        parts += [
            f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_y(0)}" y2="{_y(1)}"/>',
            f'<text class="name" x="{x:.1f}" y="{above}" text-anchor="{anchor}">{label}</text>',
            f'<text x="{x:.1f}" y="{TOP - 6}" text-anchor="{anchor}">{escape(top)}</text>',
            f'<text x="{x:.1f}" y="{HEIGHT - 12}" text-anchor="{anchor}">{escape(bottom)}</text>',
        ]
    # Marked trials last, so that no other line covers them.
    for trial in sorted(there, key=lambda trial: marks.get(trial.number, "")):
        assert trial.last is not None
        places = [_place(space.families[family][name], trial.point.get(name)) for name in names[:-1]]
        places.append(_share(trial.last.mean, low, high))
        points = " ".join(f"{_x(index * step):.1f},{_y(place):.1f}" for index, place in enumerate(places))
        # Fainter for lower scores: what the good ones share is seen at once.
        strength = "" if trial.number in marks else f' stroke-opacity="{0.25 + 0.6 * places[-1] ** 2:.2f}"'
        parts.append(
            f'<polyline class="{_class(trial, marks)}"{strength} points="{points}">'
            f"<title>{_title(trial)}</title></polyline>"
        )
    return _svg(parts, f"configurations of {family}")


def importance_bars(importance: Mapping[str, float]) -> str:
    """A bar for each parameter."""
    parts = []
    for index, (name, value) in enumerate(sorted(importance.items(), key=lambda item: -item[1])):
        y = 8 + 26 * index
        parts += [
            f'<text x="240" y="{y + 13}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="bar" x="250" y="{y}" width="{max(1.0, 560 * value):.1f}" height="16">'
            f"<title>{escape(name)}: {value:.1%}</title></rect>",
            f'<text x="{260 + 560 * value:.1f}" y="{y + 13}">{value:.0%}</text>',
        ]
    return _svg(parts, "importance of each parameter", height=26 * len(importance) + 8)


def front(
    trials: Sequence[Trial], names: Sequence[str], marks: Mapping[int, str], pair: tuple[int, int] = (0, 1)
) -> str:
    """Two objectives against each other, with those that nothing dominates joined."""
    whole = [trial for trial in trials if trial.whole is not None]
    scores = [trial.whole for trial in whole if trial.whole is not None]
    if not scores:
        return _svg([], "no trial was finished")
    sides = [[score.values[side] for score in scores] for side in pair]
    spans = [(min(side), max(side)) for side in sides]

    def at(index: int) -> tuple[float, float]:
        x, y = (_share(side[index], *span) for side, span in zip(sides, spans, strict=True))
        return _x(x), _y(y)

    parts = _frame(spans[1], names[pair[1]], spans[0], names[pair[0]])
    best = sorted(pareto(scores), key=lambda index: (sides[0][index], -sides[1][index]))
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, best))
    if best:
        parts.append(f'<polyline class="best" points="{points}"><title>the Pareto front</title></polyline>')
    parts += [_dot(*at(index), trial, marks) for index, trial in enumerate(whole)]
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
        return in_words(where.options[0]), in_words(where.options[-1])
    return f"{where.low:g}", f"{where.high:g}"


def in_words(value: Any) -> str:
    """A value of a configuration, as short as it can be told from others."""
    if isinstance(value, list | tuple):
        return " x ".join(map(in_words, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _share(value: float, low: float, high: float) -> float:
    return 0.5 if high <= low else min(1.0, max(0.0, (value - low) / (high - low)))


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - 2 * LEFT)


def _y(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 1)


def _frame(ys: tuple[float, float], y_name: str, xs: tuple[float, float], x_name: str) -> list[str]:
    """Both axes with their ends, and what they show."""
    return [
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - LEFT}" y1="{_y(0)}" y2="{_y(0)}"/>',
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - LEFT}" y1="{_y(0.5)}" y2="{_y(0.5)}"/>',
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - LEFT}" y1="{_y(1)}" y2="{_y(1)}"/>',
        f'<text class="name" x="{LEFT}" y="{TOP - 14}">{escape(y_name)}</text>',
        f'<text x="{LEFT - 8}" y="{_y(0) + 4}" text-anchor="end">{ys[0]:.3g}</text>',
        f'<text x="{LEFT - 8}" y="{_y(0.5) + 4}" text-anchor="end">{(ys[0] + ys[1]) / 2:.3g}</text>',
        f'<text x="{LEFT - 8}" y="{_y(1) + 4}" text-anchor="end">{ys[1]:.3g}</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 12}">{xs[0]:.3g}</text>',
        f'<text class="name" x="{_x(0.5)}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_name)}</text>',
        f'<text x="{WIDTH - LEFT}" y="{HEIGHT - 12}" text-anchor="end">{xs[1]:.4g}</text>',
    ]


def _dot(x: float, y: float, trial: Trial, marks: Mapping[int, str]) -> str:
    kind = _class(trial, marks)
    size = 7 if trial.number in marks else 4.5
    # What had a part of the training alone can't be compared with what had all of it.
    partial = "" if trial.whole is not None else " part"
    return (
        f'<circle class="{kind}{partial}" cx="{x:.1f}" cy="{y:.1f}" r="{size}">'
        f"<title>{_title(trial)}</title></circle>"
    )


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
