"""A report as the files that people and machines read."""

from synthmill.evaluation.report import Report


def report_files(report: Report) -> dict[str, bytes]:
    """File name -> content: `report.json`, and what is rendered from it."""
    return {"report.json": report.to_json()}
