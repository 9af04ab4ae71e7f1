"""A short summary for pull requests and job logs."""

from synthmill.evaluation.report import Report
from synthmill.evaluation.words import VERDICT_WORDS, estimate_words, level, title, worst_columns
from synthmill.metrics.base import Estimate, Result

HEADLINES = (
    ("utility.lift_dataset", None),
    ("utility.tstr_ratio", None),
    ("image.tstr_ratio", None),
    ("image.label_fidelity", None),
    ("image.coverage", None),
    ("image.fd", None),
    ("tabular.marginal_gap", "worst_decile"),
    ("tabular.pair_gap", "worst_decile"),
    ("fidelity.c2st_auc", None),
    ("privacy.near_copy_pvalue", None),
    ("privacy.pixel_copy_pvalue", None),
    ("privacy.mia_tpr@1fpr", None),
)


def to_markdown(report: Report) -> str:
    """Verdict, headline figures, and every gate that failed or can't be decided with what to do."""
    lines = [f"### Synthetic data: {VERDICT_WORDS[report.verdict]}", ""]
    lines += [report.summary[0].upper() + report.summary[1:] + ".", ""]
    lines += [f"| figure | value | {level(report.confidence)} interval | real vs real | n |"]
    lines += ["|---|---|---|---|---|"]
    for label, shown, result in headlines(report):
        value, interval, reference = estimate_words(shown)
        lines.append(f"| {label} | {value} | {interval} | {reference} | {result.gate_n:,} |")
    problems = report.failing()
    if problems:
        lines += ["", "| gate | outcome | why | what to do |", "|---|---|---|---|"]
        for g in problems:
            named = g.status == "fail" and g.metric in report.metrics
            worst = worst_columns(report.metrics[g.metric], report.inputs["columns"]) if named else []
            where = f" Worst in {', '.join(worst)}." if worst else ""
            advice = _cell(g.advice + where) if g.status == "fail" else ""
            lines.append(f"| {_cell(g.id)} | {g.status} | {_cell(g.explain)} | {advice} |")
    lines += [f"\n> {_cell(warning)}" for warning in report.warnings]
    made = f"Profile {report.config.get('profile')}, seed {report.config.get('seed')}"
    lines += ["", f"{made}, report {report.digest[:12]}, synthmill {report.version}."]
    return "\n".join(lines) + "\n"


def headlines(report: Report) -> list[tuple[str, Estimate, Result]]:
    """Label, figure and whole result of the main figures that have a value."""
    out: list[tuple[str, Estimate, Result]] = []
    for name, aspect in HEADLINES:
        result = report.metrics.get(name)
        if result is not None and result.status == "ok":
            label = title(name) + (f" ({aspect.replace('_', ' ')})" if aspect else "")
            out.append((label, result if aspect is None else result.aspects[aspect], result))
    return out


def _cell(text: str) -> str:
    # A pipe in a column's name would end the cell.
    return text.replace("|", "\\|").replace("\n", " ")
