"""Inline SVG for the report: every mark has a label or a title, colours are the page's CSS variables."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from synthmill.evaluation.words import number

WIDTH = 640


@dataclass(frozen=True)
class Range:
    """One value on an axis: interval, real-vs-real tick, and what a gate allows."""

    value: float
    ci: tuple[float, float] | None = None
    reference: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    state: str = "pass"


def range_bar(item: Range, *, label: str | None = None, width: int = 240) -> str:
    """A value with its whisker, the real-vs-real tick (with `label`) and the gate's limit on one axis."""
    limits = [x for x in (item.at_most, item.at_least) if x is not None]
    points = [item.value, *(item.ci or ()), *limits]
    points += [] if item.reference is None else [item.reference]
    low, high = min(points), max(points)
    # Room at both ends, also where all points are one.
    pad = (high - low) * 0.12 or max(abs(high), 1e-3) * 0.5
    low, high = low - pad, high + pad
    y, height = 12, 42 if label else 24

    def x(value: float) -> float:
        return float(round(8 + (value - low) / (high - low) * (width - 16), 1))

    parts = [_line(8, width - 8, y, y, "axis")]
    forbidden: list[tuple[float, float]] = [] if item.at_most is None else [(x(item.at_most), width - 8)]
    forbidden += [] if item.at_least is None else [(8, x(item.at_least))]
    for left, right in forbidden:
        parts.append(
            f'<rect x="{min(left, right)}" y="{y - 6}" width="{abs(right - left):.1f}" height="12"'
            ' class="forbidden"><title>the gate fails here</title></rect>'
        )
    if item.ci is not None:
        a, b = x(item.ci[0]), x(item.ci[1])
        parts.append(_line(a, b, y, y, f"whisker {item.state}"))
    if item.reference is not None:
        r = x(item.reference)
        parts.append(_line(r, r, y - 9, y + 9, "reference"))
        anchor = "start" if r < width * 0.3 else ("end" if r > width * 0.7 else "middle")
        if label:
            parts.append(_text(r, y + 23, label, anchor))
    parts.append(f'<circle cx="{x(item.value)}" cy="{y}" r="5.5" class="dot {item.state}"/>')
    label_text = f"value {number(item.value)}" + (f", limit {number(limits[0])}" if limits else "")
    return _svg(width, height, parts, label_text)


def bars(
    labels: Sequence[str], shares: dict[str, Sequence[float]], *, width: int = 300, height: int = 120
) -> str:
    """Grouped bars: train and synthetic shares a bin, the holdout as a tick."""
    count, top = len(labels), max([*(max(v, default=0.0) for v in shares.values()), 1e-9])
    base, left, head = height - 16, 4, 18
    step = (width - 2 * left) / max(count, 1)
    parts = [_line(left, width - left, base, base, "axis")]
    for i, label in enumerate(labels):
        at = left + i * step
        for k, side in enumerate(("train", "synthetic")):
            share = shares[side][i]
            tall = share / top * (base - head)
            text = f"{escape(label)}: {side} {share:.1%}"
            parts.append(
                f'<rect x="{at + step * (0.1 + 0.4 * k):.1f}" y="{base - tall:.1f}" width="{step * 0.38:.1f}"'
                f' height="{tall:.1f}" class="{side}"><title>{text}</title></rect>'
            )
        if "holdout" in shares:
            y = base - shares["holdout"][i] / top * (base - head)
            ends = (f"{at + step * 0.05:.1f}", f"{at + step * 0.92:.1f}")
            parts.append(_line(*ends, f"{y:.1f}", f"{y:.1f}", "reference"))
    parts.append(_text(width - left, 9, f"tallest bar {top:.0%}", "end"))
    # More than four labels would overlap: the first and the last stand for the order.
    if 1 < count <= 4:
        for i, label in enumerate(labels):
            at, size = left + (i + 0.5) * step, int(44 / count)
            parts.append(_text(f"{at:.1f}", height - 3, _short(label, size), "middle"))
    elif labels:
        parts.append(_text(left, height - 3, _short(labels[0])))
    if count > 4:
        parts.append(_text(width - left, height - 3, _short(labels[-1]), "end"))
    return _svg(width, height, parts, "shares by bin: " + ", ".join(labels[:12]))


def heatmap(names: Sequence[str], values: dict[tuple[str, str], float], limit: float) -> str:
    """Gaps of pairs as a lower triangle; full colour at `limit` and beyond."""
    # Small enough for 30 columns, large enough to point at.
    cell = max(12, min(30, 520 // max(len(names), 1)))
    left, size = 150, cell * len(names)
    parts = []
    for i, a in enumerate(names):
        y = i * cell
        parts.append(_text(left - 6, f"{y + cell * 0.7:.1f}", _short(a, 22), "end"))
        for j, b in enumerate(names[:i]):
            value = values.get((a, b), values.get((b, a)))
            if value is None:
                parts.append(
                    f'<rect x="{left + j * cell}" y="{y}" width="{cell - 1}" height="{cell - 1}"'
                    ' class="empty"/>'
                )
                continue
            # Never white: white means that the pair was not counted.
            shade = max(0.04, min(1.0, value / limit))
            text = f"{escape(a)} and {escape(b)}: gap {number(value)}"
            parts.append(
                f'<rect x="{left + j * cell}" y="{y}" width="{cell - 1}" height="{cell - 1}" class="heat" '
                f'fill-opacity="{shade:.2f}"><title>{text}</title></rect>'
            )
    for j, b in enumerate(names[:-1]):
        place = f"translate({left + j * cell + cell * 0.6:.1f},{size + 6}) rotate(55)"
        parts.append(f'<text transform="{place}" class="small">{escape(_short(b, 14))}</text>')
    return _svg(left + size + 40, size + 84, parts, "gap of each pair of columns")


@dataclass(frozen=True)
class Whisker:
    """One row of a dot plot."""

    label: str
    value: float
    ci: tuple[float, float] | None
    kind: str = "baseline"


def dot_plot(rows: Sequence[Whisker], *, unit: str, width: int = WIDTH) -> str:
    """Values with intervals around a zero line, one row each."""
    # Zero is always on the axis: whether an interval crosses it is the question.
    points = [0.0, *(r.value for r in rows), *(x for r in rows for x in r.ci or ())]
    low, high = min(points), max(points)
    pad = (high - low) * 0.08 or 0.01
    low, high, left, row_height = low - pad, high + pad, 170, 26

    def x(value: float) -> float:
        return round(left + (value - low) / (high - low) * (width - left - 90), 1)

    bottom = row_height * len(rows) + 6
    parts = [_line(x(0), x(0), 0, bottom, "axis")]
    for i, row in enumerate(rows):
        y = i * row_height + 16
        parts.append(_text(left - 10, y + 4, row.label, "end", style=f"label {row.kind}"))
        if row.ci is not None:
            parts.append(_line(x(row.ci[0]), x(row.ci[1]), y, y, f"whisker {row.kind}"))
        parts.append(f'<circle cx="{x(row.value)}" cy="{y}" r="5" class="dot {row.kind}"/>')
        parts.append(_text(width - 4, y + 4, f"{row.value:+.4f}", "end"))
    parts.append(_text(x(0), bottom + 14, f"0 = no change in {unit}", "middle"))
    return _svg(width, bottom + 22, parts, "lift by arm")


def lift_curve(
    curves: dict[str, Sequence[dict[str, Any]]], *, unit: str, width: int = WIDTH, height: int = 260
) -> str:
    """Lift against the number of real rows, one line an arm; the synthetic one has its interval."""
    rows = [p["rows"] for p in next(iter(curves.values()))]
    values = [
        0.0,
        *(p["lift"] for line in curves.values() for p in line),
        *(x for p in curves.get("synthetic", ()) for x in p["ci"]),
    ]
    low, high = min(values), max(values)
    pad = (high - low) * 0.1 or 0.01
    low, high, left, base = low - pad, high + pad, 60, height - 34

    def xy(index: int, value: float) -> tuple[float, float]:
        step = (width - left - 150) / max(len(rows) - 1, 1)
        return round(left + 20 + index * step, 1), round(base - (value - low) / (high - low) * (base - 10), 1)

    zero = xy(0, 0.0)[1]
    parts = [_line(left, width - 130, zero, zero, "axis")]
    parts += [_text(xy(i, 0)[0], height - 14, f"{n:,} rows", "middle") for i, n in enumerate(rows)]
    for tick in (low + pad, 0.0, high - pad):
        parts.append(_text(left - 6, xy(0, tick)[1] + 4, f"{tick:+.3f}", "end"))
    ends: list[tuple[float, str, str]] = []
    for arm, line in sorted(curves.items(), key=lambda item: item[0] == "synthetic"):
        kind = "synthetic" if arm == "synthetic" else "baseline"
        path = " ".join(f"{x},{y}" for x, y in (xy(i, p["lift"]) for i, p in enumerate(line)))
        parts.append(f'<polyline points="{path}" class="line {kind}"><title>{escape(arm)}</title></polyline>')
        if kind == "synthetic":
            for i, p in enumerate(line):
                x, y1 = xy(i, p["ci"][0])
                y2 = xy(i, p["ci"][1])[1]
                parts.append(_line(x, x, y1, y2, f"whisker {kind}"))
                parts.append(f'<circle cx="{x}" cy="{xy(i, p["lift"])[1]}" r="5" class="dot {kind}"/>')
        ends.append((xy(len(line) - 1, line[-1]["lift"])[1], arm, kind))
    # Labels of lines that end together are moved down, or they would be written over each other.
    y_last = -20.0
    for y, arm, kind in sorted(ends):
        y_last = max(y, y_last + 14)
        parts.append(_text(width - 122, f"{y_last + 4:.1f}", arm, style=f"label {kind}"))
    return _svg(width, height, parts, f"lift in {unit} by number of real rows")


def quantile_curves(curves: dict[str, Sequence[float]], *, width: int = WIDTH, height: int = 200) -> str:
    """Cumulative shares: how many real rows have a synthetic row within a distance, by side."""
    top = max(max(v) for v in curves.values()) or 1.0
    left, base = 46, height - 30
    parts = [_line(left, width - 10, base, base, "axis")]
    for share in (0, 0.5, 1):
        y = base - share * (base - 10)
        parts.append(_text(left - 6, f"{y + 4:.1f}", f"{share:.0%}", "end"))
    for k, (side, values) in enumerate(curves.items()):
        last = len(values) - 1
        path = " ".join(
            f"{left + v / top * (width - left - 10):.1f},{base - i / last * (base - 10):.1f}"
            for i, v in enumerate(values)
        )
        parts.append(
            f'<polyline points="{path}" class="line {side}"><title>{escape(side)} rows</title></polyline>'
        )
        parts.append(_line(left + 16, left + 40, 22 + 18 * k, 22 + 18 * k, f"line {side}"))
        parts.append(_text(left + 48, 26 + 18 * k, f"{side} rows"))
    caption = f"distance to the nearest synthetic row, up to {top:.2g}"
    parts.append(_text(width - 10, height - 10, caption, "end"))
    return _svg(width, height, parts, "distance to the nearest synthetic row")


def _short(text: str, length: int = 18) -> str:
    return text if len(text) <= length else text[: length - 1] + "."


def _text(x: float | str, y: float | str, text: str, anchor: str = "", *, style: str = "small") -> str:
    place = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x}" y="{y}"{place} class="{style}">{escape(text)}</text>'


def _line(x1: float | str, x2: float | str, y1: float | str, y2: float | str, style: str) -> str:
    return f'<line x1="{x1}" x2="{x2}" y1="{y1}" y2="{y2}" class="{style}"/>'


def _svg(width: float, height: float, parts: Sequence[str], label: str) -> str:
    # Fluid: a phone's screen is narrower than most plots.
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" style="max-width:{width:.0f}px" class="fluid"'
    return f'<svg {size} role="img" aria-label="{escape(label, quote=True)}">{"".join(parts)}</svg>'
