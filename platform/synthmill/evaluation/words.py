"""How reports put numbers and names into words."""

from collections.abc import Collection

from synthmill.evaluation.gates import Verdict
from synthmill.metrics.base import Estimate, Result, metric_classes

VERDICT_WORDS: dict[Verdict, str] = {
    "pass": "passed",
    "warn": "passed with warnings",
    "fail": "failed",
    "inconclusive": "inconclusive",
}


def title(name: str) -> str:
    """A metric's title, or its name where it is not installed."""
    classes = metric_classes()
    if name in classes:
        return classes[name].title
    known, _, extractor = name.partition("@")
    return f"{classes[known].title} ({extractor})" if known in classes else name


def question(name: str) -> str:
    """What a metric answers, in plain words; empty where it is not installed."""
    # `privacy.mia_tpr@1fpr` has an @ of its own; after `image.fd@` comes the extractor.
    known = metric_classes().get(name.partition("@")[0]) or metric_classes().get(name)
    return known.question if known else ""


def percent(value: float | None) -> str:
    """93.3%."""
    return "-" if value is None else f"{value:.1%}"


def number(value: float | None) -> str:
    """Three significant digits, without noise: 0.0213, 12.3, 1,234."""
    if value is None:
        return "-"
    if value != 0 and abs(value) < 1e-4:
        return f"{value:.0e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    # 0.0213 rather than 0.0213456: a report states what its interval supports.
    text = f"{value:.3g}" if abs(value) >= 0.1 else f"{value:.4f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def level(confidence: float) -> str:
    """95%."""
    return f"{100 * confidence:.4g}%"


def interval(ci: tuple[float, float] | None) -> str:
    """`0.1 to 0.3`."""
    return "-" if ci is None else f"{number(ci[0])} to {number(ci[1])}"


def estimate_words(estimate: Estimate) -> tuple[str, str, str]:
    """Value, interval and reference in words."""
    return number(estimate.value), interval(estimate.ci), number(estimate.reference)


def pair_of(key: str, columns: Collection[str]) -> tuple[str, str] | None:
    """The two columns that a key `a|b` names, which may have `|` in their names; None: no two of them."""
    parts = key.split("|")
    # Every place to split is tried, as a name may have the separator in it.
    splits = (("|".join(parts[:i]), "|".join(parts[i:])) for i in range(1, len(parts)))
    return next((pair for pair in splits if pair[0] in columns and pair[1] in columns), None)


def worst_columns(result: Result, columns: Collection[str], count: int = 5) -> list[str]:
    """The same as `columns_at_fault`, each with its value in words."""
    return [f"{name} ({number(value)})" for name, value in columns_at_fault(result, columns, count)]


def columns_at_fault(result: Result, columns: Collection[str], count: int) -> list[tuple[str, float]]:
    """The columns or pairs that a figure is worst in and their values, worst first; none at their ideal."""
    up = result.direction == "maximize"
    ideal = 1.0 if up else 0.0
    worse = {
        name: value for name, value in result.per_column.items() if (value < ideal if up else value > ideal)
    }
    ranked = sorted(worse, key=lambda name: worse[name] if up else -worse[name])
    # A key may name a column or a pair, and `|` may be in a column's own name: columns go first.
    known = set(columns)
    pairs = {name: None if name in known else pair_of(name, known) for name in ranked[:count]}
    return [(" and ".join(pair) if pair else name, worse[name]) for name, pair in pairs.items()]


def direction_word(result: Result) -> str:
    """Which way is good."""
    if result.direction == "target":
        return f"ideal {number(result.target)}"
    return "higher is better" if result.direction == "maximize" else "lower is better"
