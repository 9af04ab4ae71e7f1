"""The report as one self-contained page: inline style and SVG, no script, nothing fetched.

Order: verdict, four tiles, what failed and what to do, lift, worst columns and pairs, privacy, nearest rows,
difference to the baseline, how to reproduce.
"""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from synthmill.evaluation import svg
from synthmill.evaluation.evidence.base import Page, evidence_door
from synthmill.evaluation.gates import GateResult
from synthmill.evaluation.report import Report
from synthmill.evaluation.words import (
    VERDICT_WORDS,
    direction_word,
    interval,
    level,
    number,
    pair_of,
    percent,
    question,
    title,
    worst_columns,
)
from synthmill.metrics.base import Estimate
from synthmill.metrics.lib.baselines import NOTHING, SYNTHETIC

MAX_HEATMAP_COLUMNS = 30
AXES = ("utility", "fidelity", "diversity", "privacy", "overfit", "schema")
TILE_AXES = {
    "Utility": ("utility",),
    "Fidelity": ("fidelity", "diversity", "schema"),
    "Privacy": ("privacy",),
}
LABELS = {
    ("utility.tstr_ratio", None): "Learnt from synthetic rows alone",
    ("tabular.pair_gap", "worst_decile"): "Pairs of columns, worst tenth off by",
    ("tabular.marginal_gap", "worst_decile"): "Columns, worst tenth off by",
    ("diversity.coverage", None): "Real variety that is reached",
    ("privacy.mia_tpr@1fpr", None): "Training rows an attacker recognises",
    ("privacy.near_copy_pvalue", "train_share"): "Training rows with a near copy",
    ("privacy.exact_copy_excess", "train_share"): "Training rows repeated exactly",
}
"""What a tile calls a figure, where the metric's title would not say enough."""
REAL = {"train_share": "unseen rows", "privacy.mia_tpr@1fpr": "by guessing"}
"""What the real-vs-real tick means."""
SHARES = ("privacy.mia_tpr@1fpr", "utility.tstr_ratio", "diversity.coverage")
"""Figures that are shown in percent."""
HEADLINES = {
    "pass": "Passed: every gate was met",
    "warn": "Passed: every required gate was met, some points deserve a look",
    "fail": "Failed: do not use this dataset yet",
    "inconclusive": "Undecided: not enough evidence to pass",
}


def to_html(report: Report) -> str:
    """The page; well below 500 kB for tables of up to some hundred columns."""
    page = evidence_door(report.kind).page
    near_copies = report.metrics.get("privacy.near_copy_pvalue")
    distances = report.plots.get("distances")
    return _template().render(
        report=report,
        verdict=VERDICT_WORDS[report.verdict],
        headline=HEADLINES[report.verdict],
        heading=str(report.provenance.get("dataset") or page.heading),
        facts=_facts(report, page),
        tiles=[_tile(report, name, figures) for name, figures in page.tiles.items()]
        + [_provenance_tile(report)],
        problems=_problems(report),
        lift=_lift(report),
        columns=[
            {**column, "plot": Markup(svg.bars(column["labels"], column["shares"]))}
            for column in report.plots.get("columns", ())
        ],
        heatmap=_heatmap(report),
        images=[(*page.captions[name], uri) for name, uri in report.images.items() if name in page.captions],
        scales=near_copies.details.get("scales", []) if near_copies and near_copies.status == "ok" else [],
        distances=Markup(svg.quantile_curves(distances)) if distances else None,
        privacy=[report.metrics[name] for name in report.privacy.tested],
        regressions=[g for g in report.gates if g.kind == "regression"],
        gates=_thresholds(report),
        metrics=sorted(report.metrics.values(), key=lambda m: (AXES.index(m.axis), m.metric)),
        reproduce=_reproduce(report),
        level=level(report.confidence),
        title=title,
        question=question,
        number=number,
        interval=interval,
        direction=direction_word,
    )


@cache
def _template() -> Template:
    # Names of columns and datasets are text from elsewhere: everything is escaped.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = (resources.files("synthmill") / "evaluation" / "templates" / "report.html.jinja").read_text()
    return environment.from_string(text)


@dataclass(frozen=True)
class Figure:
    """One figure of a tile."""

    label: str
    value: str
    note: str
    state: str
    bar: Markup | None = None


@dataclass(frozen=True)
class Tile:
    """One of the four."""

    name: str
    state: str
    figures: tuple[Figure, ...]


def _facts(report: Report, page: Page) -> list[str]:
    facts = page.facts(report.inputs)
    if report.provenance.get("model"):
        facts.append(f"model {report.provenance['model']}")
    return [*facts, f"{report.config['profile']} profile", report.created[:10]]


def _tile(report: Report, name: str, figures: tuple[tuple[str, str | None], ...]) -> Tile:
    shown = (_figure(report, *figure, large=i == 0) for i, figure in enumerate(figures))
    gates = [
        g
        for g in _thresholds(report)
        if g.metric in report.metrics and report.metrics[g.metric].axis in TILE_AXES[name]
    ]
    return Tile(name, _state(gates), tuple(figure for figure in shown if figure is not None))


def _thresholds(report: Report) -> list[GateResult]:
    return [g for g in report.gates if g.kind == "threshold"]


def _state(gates: list[GateResult]) -> str:
    judged = [g for g in gates if g.severity != "info"]
    if any(g.status == "fail" and g.severity == "error" for g in judged):
        return "fail"
    if any(g.status == "inconclusive" and g.severity == "error" for g in judged):
        return "inconclusive"
    if any(g.status in ("fail", "inconclusive") for g in judged):
        return "warn"
    return "pass" if any(g.status == "pass" for g in judged) else "none"


def _figure(report: Report, name: str, aspect: str | None, *, large: bool) -> Figure | None:
    result = report.metrics.get(name)
    if result is None or result.status == "not_applicable":
        return None
    label = LABELS.get((name, aspect), title(name))
    if name == "utility.lift_dataset" and "score" in result.details:
        label = f"{result.details['score']} that models gain from the rows"
    if result.status != "ok":
        return Figure(label, "?", result.reason or "", "inconclusive")
    shown = result if aspect is None else result.aspects.get(aspect, Estimate())
    gates = [g for g in _thresholds(report) if g.metric == name and g.severity != "info"]
    own = [g for g in gates if g.aspect == aspect]
    # These two aspects are shown because they can be read; what is judged is another aspect of the figure.
    state = _state(gates if aspect in ("best", "train_share") or not own else own)
    if shown.value is None:
        return Figure(label, "-", "", state)
    words = percent if aspect == "train_share" or name in SHARES else number
    parts = [f"{level(result.confidence)}: {words(shown.ci[0])} to {words(shown.ci[1])}"] if shown.ci else []
    real = REAL.get(aspect or "", REAL.get(name, "real rows"))
    parts += [f"{real}: {words(shown.reference)}"] if shown.reference is not None else []
    # Only limits on the value itself can be drawn on its axis.
    same = [g for g in gates if g.aspect == aspect and g.severity == "error" and g.relative_to == "nothing"]
    limits = {g.op: g.threshold for g in same}
    bar = svg.Range(
        shown.value, shown.ci, shown.reference, limits.get("at most"), limits.get("at least"), state
    )
    tick = f"{real} {words(shown.reference)}" if large and shown.reference is not None else None
    value = f"{shown.value:+.4f}" if name == "utility.lift_dataset" else words(shown.value)
    return Figure(label, value, "\n".join(parts), state, Markup(svg.range_bar(bar, label=tick)))


def _provenance_tile(report: Report) -> Tile:
    known = report.provenance
    inside = known.get("contains_training_rows")
    rows = [
        ("Model", known.get("model"), known.get("model_digest")),
        ("Label", known.get("digital_source_type") or known.get("label"), None),
        ("Training rows inside", None if inside is None else ("yes" if inside else "no"), None),
        ("Content digest", (known.get("content_digest") or "")[:16] or None, None),
    ]
    figures = [
        Figure(label, "", str(value) + (f" ({str(extra)[:12]})" if extra else ""), "pass")
        for label, value, extra in rows
        if value
    ]
    holdout = report.inputs.get("holdout_rows", 0)
    note = f"{holdout:,} rows never trained on" if holdout else "none: no real-vs-real figures"
    figures.append(Figure("Holdout", "", note, "pass" if holdout else "inconclusive"))
    # Who made the rows, and that some were never trained on, is what the other tiles rest on.
    state = "inconclusive" if not holdout or not known.get("model") else "pass"
    return Tile("Provenance", "warn" if known.get("contains_training_rows") else state, tuple(figures))


def _problems(report: Report) -> list[dict[str, Any]]:
    """Gates to look at, one card a metric, the worst first."""
    by_metric: dict[str, list[GateResult]] = {}
    for gate in report.failing():
        by_metric.setdefault(gate.metric, []).append(gate)
    cards = []
    for name, gates in by_metric.items():
        failed = [g for g in gates if g.status == "fail"]
        severities = {g.severity for g in failed}
        # A warning beside the error on the same aspect says the same twice: the strictest stays.
        strictest = {(g.aspect, g.bound, g.op, g.kind): g for g in reversed(failed or gates)}
        # Advice on the figure itself helps more than that to compare two recipes.
        advice = [g.advice for g in sorted(failed, key=lambda g: g.kind != "threshold")]
        cards.append(
            {
                "title": title(name),
                "question": question(name),
                "name": name,
                "state": "inconclusive" if not failed else "fail" if "error" in severities else "warn",
                "lines": [g.explain[:1].upper() + g.explain[1:] for g in reversed(strictest.values())],
                "columns": worst_columns(report.metrics[name], report.inputs["columns"]) if failed else [],
                "advice": advice[0] if advice else "",
            }
        )
    return cards


def _lift(report: Report) -> dict[str, Any] | None:
    low, full = report.metrics.get("utility.lift_lowdata"), report.metrics.get("utility.lift_dataset")
    out: dict[str, Any] = {}
    if low is not None and low.status == "ok":
        curves = low.details["curves"][low.details["best_learner"]]
        out["curve"] = Markup(svg.lift_curve(curves, unit=low.method.split(";")[0]))
        out["curve_result"] = low
    if full is not None and full.status == "ok":
        lifts = full.details["learners"][full.details["best_learner"]]["lifts"]
        rows = []
        for arm in sorted(lifts, key=lambda arm: (arm != SYNTHETIC, arm)):
            kind = "synthetic" if arm == SYNTHETIC else "baseline"
            ci = lifts[arm]["ci"]
            rows.append(svg.Whisker(arm, lifts[arm]["lift"], (ci[0], ci[1]) if ci else None, kind))
        out["arms"] = Markup(svg.dot_plot(rows, unit=full.details["score"]))
        out["result"] = full
        out["learners"] = [
            {
                "name": name,
                "alone": record["scores"][NOTHING]["score"],
                "lift": record["lifts"][SYNTHETIC],
                "p": record["harm_p_holm"],
            }
            for name, record in full.details["learners"].items()
        ]
    elif full is not None:
        out["reason"] = full.reason
    return out or None


def _heatmap(report: Report) -> dict[str, Any] | None:
    result = report.metrics.get("tabular.pair_gap")
    if result is None or not result.per_column:
        return None
    names = [str(name) for name in report.inputs["columns"]]
    pairs = ((pair_of(key, names), value) for key, value in result.per_column.items())
    values = {pair: value for pair, value in pairs if pair}
    worst: dict[str, float] = {}
    for (a, b), value in values.items():
        worst[a], worst[b] = max(worst.get(a, -1.0), value), max(worst.get(b, -1.0), value)
    # Wide tables show the columns that are worst off; a square of 500 names can't be read.
    chosen = set(sorted(worst, key=lambda name: -worst[name])[:MAX_HEATMAP_COLUMNS])
    shown = [name for name in names if name in chosen]
    # Beside the heat map, because colours can't be read off exactly.
    listed = sorted(values.items(), key=lambda item: -item[1])[:8]
    return {
        "plot": Markup(svg.heatmap(shown, values, 0.15)),
        "worst": [{"pair": f"{a} and {b}", "gap": value} for (a, b), value in listed],
        "cut": len(worst) - len(shown),
    }


def _reproduce(report: Report) -> list[tuple[str, str]]:
    inputs, config = report.inputs, report.config
    names = ("train", "validation", "holdout", "synthetic")
    sides = ", ".join(f"{side} {inputs[f'{side}_rows']:,}" for side in names)
    # Only what a kind states: another may read every row, or have nothing to predict.
    sampled, target = [], inputs.get("target")
    for name, key in (("neighbours", "neighbour_rows"), ("classifiers", "classifier_rows")):
        if key in config:
            sampled.append(f"{name} {'all' if config[key] is None else format(config[key], ',')}")
    rows = [
        ("Rows", sides),
        *([("Sampled rows a side", ", ".join(sampled))] if sampled else []),
        ("Target", f"{target} ({inputs['task']})" if target else "none"),
        ("Seed", str(config["seed"])),
        ("Gates", f"sha256 {config['gates_sha256'][:16]}"),
        ("Report", f"sha256 {report.digest[:16]}"),
        ("synthmill", report.version),
        ("Computed in", f"{report.timings.get('total', 0):.1f} s"),
    ]
    # Nested provenance is in the JSON; the page lists what fits a line.
    scalars = {key: value for key, value in report.provenance.items() if isinstance(value, str | int | float)}
    return rows + [(key.replace("_", " ").capitalize(), str(value)) for key, value in scalars.items()]
