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
    direction_word,
    interval,
    level,
    number,
    pair_of,
    percent,
    question,
    title,
    verdict_word,
    worst_columns,
)
from synthmill.metrics.base import Estimate
from synthmill.metrics.lib.lift import NOTHING, SYNTHETIC

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
"""What the real-vs-real tick stands for."""
HEADLINES = {
    "pass": "Passed: every gate was met",
    "warn": "Passed: every required gate was met, some points deserve a look",
    "fail": "Failed: do not use this dataset yet",
    "inconclusive": "Undecided: not enough evidence to pass",
}


def to_html(report: Report) -> str:
    """The page; well below 500 kB for tables of up to some hundred columns."""
    page = evidence_door(report.kind).page
    return _template().render(
        report=report,
        verdict=verdict_word(report.verdict),
        headline=HEADLINES[report.verdict],
        heading=str(report.provenance.get("dataset") or page.heading),
        facts=_facts(report, page),
        tiles=[_tile(report, name, figures) for name, figures in page.tiles.items()]
        + [_provenance_tile(report)],
        problems=_problems(report),
        lift=_lift(report),
        columns=_columns(report),
        heatmap=_heatmap(report),
        images=[(*page.captions[name], uri) for name, uri in report.images.items() if name in page.captions],
        scales=_scales(report),
        distances=(
            Markup(svg.quantile_curves(report.plots["distances"])) if report.plots.get("distances") else None
        ),
        privacy=[report.metrics[name] for name in report.privacy.tested],
        regressions=[g for g in report.gates if g.kind == "regression"],
        gates=[g for g in report.gates if g.kind == "threshold"],
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
    shown = [
        f
        for f in (_figure(report, *figure, large=i == 0) for i, figure in enumerate(figures))
        if f is not None
    ]
    gates = [
        g
        for g in report.gates
        if g.kind == "threshold"
        and g.metric in report.metrics
        and report.metrics[g.metric].axis in TILE_AXES[name]
    ]
    return Tile(name, _state(gates), tuple(shown))


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
    gates = [g for g in report.gates if g.kind == "threshold" and g.metric == name and g.severity != "info"]
    own = [g for g in gates if g.aspect == aspect]
    state = _state(gates if aspect in ("best", "train_share") or not own else own)
    if shown.value is None:
        return Figure(label, "-", "", state)
    words = percent if _is_share(name, aspect) else number
    parts = [f"{level(result.confidence)}: {words(shown.ci[0])} to {words(shown.ci[1])}"] if shown.ci else []
    real = REAL.get(aspect or "", REAL.get(name, "real rows"))
    parts += [f"{real}: {words(shown.reference)}"] if shown.reference is not None else []
    same = [g for g in gates if g.aspect == aspect and g.severity == "error" and g.relative_to == "nothing"]
    limits = {g.op: g.threshold for g in same}
    bar = svg.Range(
        shown.value, shown.ci, shown.reference, limits.get("at most"), limits.get("at least"), state
    )
    drawn = Markup(
        svg.range_bar(
            bar, label=None if not large or shown.reference is None else f"{real} {words(shown.reference)}"
        )
    )
    return Figure(label, _value(name, aspect, shown.value), "\n".join(parts), state, drawn)


def _is_share(name: str, aspect: str | None) -> bool:
    return aspect == "train_share" or name in (
        "privacy.mia_tpr@1fpr",
        "utility.tstr_ratio",
        "diversity.coverage",
    )


def _value(name: str, aspect: str | None, value: float) -> str:
    if name == "utility.lift_dataset":
        return f"{value:+.4f}"
    return percent(value) if _is_share(name, aspect) else number(value)


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
        state = (
            "inconclusive"
            if not failed
            else ("fail" if any(g.severity == "error" for g in failed) else "warn")
        )
        strictest = {(g.aspect, g.bound, g.op, g.kind): g for g in reversed(failed or gates)}
        lines = [g.explain[:1].upper() + g.explain[1:] for g in reversed(strictest.values())]
        own = [g.advice for g in failed if g.kind == "threshold"] or [g.advice for g in failed]
        card = {
            "title": title(name),
            "question": question(name),
            "name": name,
            "state": state,
            "lines": lines,
        }
        worst = worst_columns(report.metrics[name], report.inputs["columns"]) if failed else []
        cards.append({**card, "columns": worst, "advice": own[0] if own else ""})
    return cards


def _lift(report: Report) -> dict[str, Any] | None:
    low, full = report.metrics.get("utility.lift_lowdata"), report.metrics.get("utility.lift_dataset")
    out: dict[str, Any] = {}
    if low is not None and low.status == "ok":
        curves = low.details["curves"][low.details["best_learner"]]
        out["curve"] = Markup(svg.lift_curve(curves, unit=low.method.split(";")[0]))
        out["curve_result"] = low
    if full is not None and full.status == "ok":
        found = full.details["learners"][full.details["best_learner"]]["lifts"]
        rows = []
        for arm in sorted(found, key=lambda arm: (arm != SYNTHETIC, arm)):
            kind = "synthetic" if arm == SYNTHETIC else "baseline"
            rows.append(svg.Whisker(arm, found[arm]["lift"], _pair(found[arm]["ci"]), kind))
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


def _pair(ci: Any) -> tuple[float, float] | None:
    return None if ci is None else (float(ci[0]), float(ci[1]))


def _columns(report: Report) -> list[dict[str, Any]]:
    return [
        {**column, "plot": Markup(svg.bars(column["labels"], column["shares"]))}
        for column in report.plots.get("columns", ())
    ]


def _heatmap(report: Report) -> dict[str, Any] | None:
    result = report.metrics.get("tabular.pair_gap")
    if result is None or not result.per_column:
        return None
    values: dict[tuple[str, str], float] = {}
    names = [str(name) for name in report.inputs["columns"]]
    for key, value in result.per_column.items():
        if pair := pair_of(key, names):
            values[pair] = value
    worst: dict[str, float] = {}
    for (a, b), value in values.items():
        worst[a], worst[b] = max(worst.get(a, -1.0), value), max(worst.get(b, -1.0), value)
    kept = set(sorted(worst, key=lambda name: -worst[name])[:MAX_HEATMAP_COLUMNS])
    shown = [name for name in names if name in kept]
    listed = sorted(values.items(), key=lambda item: -item[1])[:8]
    return {
        "plot": Markup(svg.heatmap(shown, values, 0.15)),
        "worst": [{"pair": f"{a} and {b}", "gap": value} for (a, b), value in listed],
        "cut": len(worst) - len(shown),
    }


def _scales(report: Report) -> list[dict[str, Any]]:
    result = report.metrics.get("privacy.near_copy_pvalue")
    return [] if result is None or result.status != "ok" else list(result.details.get("scales", []))


def _reproduce(report: Report) -> list[tuple[str, str]]:
    inputs, config = report.inputs, report.config
    sides = ", ".join(
        f"{side} {inputs[f'{side}_rows']:,}" for side in ("train", "validation", "holdout", "synthetic")
    )
    # Only what a kind states: another may read every row, or have nothing to predict.
    limits = {"neighbours": "neighbour_rows", "classifiers": "classifier_rows"}
    sampled = ", ".join(f"{name} {_limit(config[key])}" for name, key in limits.items() if key in config)
    target = inputs.get("target")
    rows = [
        ("Rows", sides),
        *([("Sampled rows a side", sampled)] if sampled else []),
        ("Target", f"{target} ({inputs['task']})" if target else "none"),
        ("Seed", str(config["seed"])),
        ("Gates", f"sha256 {config['gates_sha256'][:16]}"),
        ("Report", f"sha256 {report.digest[:16]}"),
        ("synthmill", report.version),
        ("Computed in", f"{report.timings.get('total', 0):.1f} s"),
    ]
    scalars = {key: value for key, value in report.provenance.items() if isinstance(value, str | int | float)}
    return rows + [(key.replace("_", " ").capitalize(), str(value)) for key, value in scalars.items()]


def _limit(rows: int | None) -> str:
    return "all" if rows is None else f"{rows:,}"
