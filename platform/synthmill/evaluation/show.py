"""A report on a terminal, or in a notebook."""

import importlib

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from synthmill.evaluation.markdown import headlines
from synthmill.evaluation.report import Report
from synthmill.evaluation.words import VERDICT_WORDS, estimate_words, level, title

COLORS = {"pass": "green", "warn": "yellow", "fail": "red", "inconclusive": "magenta"}


def show(report: Report, console: Console | None = None) -> None:
    """The verdict, gates to look at and main figures; in a notebook the page itself."""
    console = console or Console()
    if console.is_jupyter:
        # No dependency of ours: it is there in a notebook, and only there.
        importlib.import_module("IPython.display").display(report)
        return
    color = COLORS[report.verdict]
    # Text, not markup: a column may be called [bold].
    summary = Text(report.summary[:1].upper() + report.summary[1:] + ".")
    console.print(Panel(summary, title=VERDICT_WORDS[report.verdict], border_style=color, title_align="left"))
    console.print(Group(*(table for table in (_figures(report), _gates(report)) if table.row_count)))
    for warning in report.warnings:
        console.print(Text(f"Note: {warning}.", style="dim"))


def _figures(report: Report) -> Table:
    table = Table("figure", "value", f"{level(report.confidence)} interval", "real vs real", "n", box=None)
    for label, shown, result in headlines(report):
        table.add_row(label, *estimate_words(shown), f"{result.gate_n:,}")
    return table


def _gates(report: Report) -> Table:
    table = Table("gate", "outcome", "why", box=None)
    for gate in report.failing():
        failed = gate.status == "fail"
        outcome = ("failed" if gate.severity == "error" else "warning") if failed else gate.status
        color = COLORS["inconclusive" if not failed else "fail" if gate.severity == "error" else "warn"]
        table.add_row(Text(title(gate.metric)), Text(outcome, style=color), Text(gate.explain))
    return table
