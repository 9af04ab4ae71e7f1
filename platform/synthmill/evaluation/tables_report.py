"""The report on tables that belong together: how they hang together, and a section a table."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from synthmill.config import FrozenModel
from synthmill.evaluation.gates import Verdict
from synthmill.evaluation.html import to_html
from synthmill.evaluation.markdown import to_markdown
from synthmill.evaluation.relations import RelationsReport
from synthmill.evaluation.report import Report

FORMAT = "synthmill.tables_report/1"
_WORST: tuple[Verdict, ...] = ("fail", "inconclusive", "warn", "pass")


class TablesReport(FrozenModel):
    """What was measured. Contains no row."""

    relations: RelationsReport
    tables: dict[str, Report]
    """By table; those that can't be judged alone are missing."""
    not_judged: dict[str, str] = Field({})
    """Why, by table."""
    constraints: dict[str, float] = Field({})
    """By table that has some: the share of its rows that meet all; 1 or something is broken."""

    @property
    def verdict(self) -> Verdict:
        """Fail where a key or a foreign key is broken; otherwise the worst of the relations and tables."""
        if not self.relations.intact or min(self.constraints.values(), default=1) < 1:
            return "fail"
        # Relations alone prove nothing of rows: without a table that could be judged, nothing is decided.
        verdicts: list[Verdict] = [report.verdict for report in self.tables.values()] or ["inconclusive"]
        verdicts += [one.verdict for one in self.relations.relations]
        return next(one for one in _WORST if one in verdicts)

    def passed(self, *, allow_inconclusive: bool = False) -> bool:
        """Whether `--require pass` is met, as of one table."""
        return self.verdict in ("pass", "warn") or (allow_inconclusive and self.verdict == "inconclusive")

    @property
    def digest(self) -> str:
        """SHA-256 of the report's JSON."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @property
    def summary(self) -> str:
        """One sentence."""
        broken = [one.table for one in self.relations.keys if one.unique < 1]
        broken += [one.relation for one in self.relations.relations if one.integrity < 1]
        if broken:
            return f"keys are broken: {', '.join(broken)}"
        unmet = [name for name, share in self.constraints.items() if share < 1]
        if unmet:
            return f"constraints are broken: {', '.join(unmet)}"
        parts = [
            f"{one.relation}: {one.verdict}" for one in self.relations.relations if one.verdict != "pass"
        ]
        parts += [f"{name}: {report.verdict}" for name, report in self.tables.items()]
        parts += [f"{name}: not judged" for name in self.not_judged]
        return f"every key is unique and every foreign key names a row; {', '.join(parts)}"

    def to_json(self) -> bytes:
        """The figures of relations, and what each table's own report says in short."""
        plain = {
            "format": FORMAT,
            "verdict": self.verdict,
            "summary": self.summary,
            **self.relations.model_dump(mode="json"),
            "verdicts": {one.relation: one.verdict for one in self.relations.relations},
            "tables": {
                name: {"verdict": report.verdict, "summary": report.summary, "report": f"{name}/report.json"}
                for name, report in self.tables.items()
            },
            "not_judged": self.not_judged,
            "constraints": self.constraints,
        }
        return (json.dumps(plain, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()

    def to_markdown(self) -> str:
        """Relations as a table, then a section a table."""
        lines = [
            f"# {self.verdict}: {self.summary}",
            "",
            "| relation | verdict | integrity | children (real) | cardinality (real) |"
            " dependence (real; none) |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for one in self.relations.relations:
            lines.append(
                f"| {one.relation} | {one.verdict} | {one.integrity:.0%} |"
                f" {one.children:.2f} ({one.children_real:.2f}) |"
                f" {one.cardinality:.3f} ({_shown(one.cardinality_reference)}) | {_shown(one.dependence)}"
                f" ({_shown(one.dependence_reference)}; {_shown(one.dependence_control)}) |"
            )
        for name, share in self.constraints.items():
            lines += ["", f"Constraints of {name}: {share:.0%} of the rows meet all of them."]
        for name, report in self.tables.items():
            lines += ["", f"## {name}", "", to_markdown(report).strip()]
        for name, why in self.not_judged.items():
            lines += ["", f"## {name}", "", f"Not judged by itself: {why}"]
        return "\n".join(lines) + "\n"

    def files(self) -> dict[str, bytes]:
        """File name -> content."""
        found = {"report.json": self.to_json(), "summary.md": self.to_markdown().encode()}
        for name, report in self.tables.items():
            found[f"{name}/report.json"] = report.to_json()
            found[f"{name}/report.html"] = to_html(report).encode()
        return found


def short(report: TablesReport) -> Mapping[str, Any]:
    """For a closing line: the figures of each relation."""
    return {
        one.relation: {
            "integrity": one.integrity,
            "cardinality": round(one.cardinality, 4),
            "dependence": None if one.dependence is None else round(one.dependence, 4),
        }
        for one in report.relations.relations
    }


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
