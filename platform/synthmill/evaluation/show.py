"""A report on a screen: the page itself in a notebook, the summary on a terminal."""

from html import escape
from importlib import import_module

from rich.console import Console
from rich.markdown import Markdown

from synthmill.evaluation.html import to_html
from synthmill.evaluation.markdown import to_markdown
from synthmill.evaluation.report import Report

FRAME_PIXELS = 900


def show(report: Report, console: Console | None = None) -> None:
    """Display the report where the caller is looking."""
    console = console or Console()
    if console.is_jupyter:
        # Only notebooks have it, and there it is always installed.
        import_module("IPython.display").display(report)
    else:
        console.print(Markdown(to_markdown(report)))


def to_frame(report: Report) -> str:
    """The report's page in a frame of its own, so that neither its styles nor the notebook's reach the
    other."""
    page = escape(to_html(report), quote=True)
    return f'<iframe srcdoc="{page}" width="100%" height="{FRAME_PIXELS}" style="border:0"></iframe>'
