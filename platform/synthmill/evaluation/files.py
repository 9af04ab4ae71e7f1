"""A report as the files that are stored and sent around."""

from synthmill.evaluation.html import to_html
from synthmill.evaluation.junit import to_junit
from synthmill.evaluation.markdown import to_markdown
from synthmill.evaluation.report import Report


def report_files(report: Report) -> dict[str, bytes]:
    """File name -> content: report.json, report.html, junit.xml, summary.md."""
    return {
        "report.json": report.to_json(),
        "report.html": to_html(report).encode(),
        "junit.xml": to_junit(report),
        "summary.md": to_markdown(report).encode(),
    }
