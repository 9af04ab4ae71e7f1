"""The result of an evaluation: `report.json`, format `synthmill.report/1` (docs/evaluation.md)."""

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from html import escape
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from synthmill import __version__
from synthmill.config import FrozenModel
from synthmill.errors import GateFailedError, NotFoundError, did_you_mean
from synthmill.evaluation.gates import GateResult, Verdict
from synthmill.evaluation.words import columns_at_fault, title
from synthmill.metrics.base import Result

FORMAT = "synthmill.report/1"
SHOWN_GATES = 3
SHOWN_COLUMNS = 3


class Privacy(FrozenModel):
    """What the privacy figures are about."""

    threat_model: str
    tested: tuple[str, ...]
    not_tested: tuple[str, ...]
    disclaimer: str


class Report(FrozenModel):
    """Everything an evaluation measured. Contains no row of any table."""

    model_config = ConfigDict(populate_by_name=True)

    format: Literal["synthmill.report/1"] = "synthmill.report/1"
    kind: str
    """The kind of data; the first versions' files lack it."""
    version: str = __version__
    created: str
    """ISO 8601, UTC."""
    verdict: Verdict
    summary: str
    """One sentence: why the verdict is what it is."""
    inputs: dict[str, Any]
    """Rows of each table, columns with their kinds, target and task."""
    config: dict[str, Any]
    """Profile, seed, row limits, gates and their digest."""
    gates: tuple[GateResult, ...]
    metrics: dict[str, Result]
    privacy: Privacy
    plots: dict[str, Any] = Field(default_factory=dict)
    """Histograms and curves that report.html draws; aggregates only."""
    images: dict[str, str] = Field(default_factory=dict, alias="pictures")
    """Contact sheets as data URIs: `samples`, `latent`, and on request `neighbours`, which shows real images;
    `pictures` in the file, as in its first versions."""
    neighbours: tuple[dict[str, Any], ...] = ()
    """The synthetic rows nearest to a real one: distance, the real one's side, columns that differ."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    timings: dict[str, float] = Field(default_factory=dict)
    """Seconds by stage and metric."""

    @model_validator(mode="before")
    @classmethod
    def _kind_of_older_ones(cls, data: Any) -> Any:
        if isinstance(data, dict) and "kind" not in data:
            return {**data, "kind": "image" if "shape" in data.get("inputs", {}) else "table"}
        return data

    def to_json(self) -> bytes:
        """Canonical JSON: sorted keys, no NaN, one trailing newline."""
        plain = _finite(self.model_dump(mode="json", by_alias=True))
        return (json.dumps(plain, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()

    @property
    def confidence(self) -> float:
        """Two-sided level of the intervals; reports before it could be set have 0.95."""
        return float(self.config.get("confidence", 0.95))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of `to_json`, for manifests."""
        return hashlib.sha256(self.to_json()).hexdigest()

    def __getitem__(self, name: str) -> Result:
        """A figure by its name (`tabular.pair_gap`), by its axis (`fidelity.pair_gap`) or by its last part.

        Raises:
            NotFoundError: no such figure, or several; names the closest.
        """
        if name in self.metrics:
            return self.metrics[name]
        matches = [
            result
            for full, result in self.metrics.items()
            if name in (full.partition(".")[2], f"{result.axis}.{full.partition('.')[2]}")
        ]
        # Two figures of one short name: guessing would answer another question.
        if len(matches) != 1:
            raise NotFoundError(f"no figure named {name!r}{did_you_mean(name, self.metrics)}", field="report")
        return matches[0]

    def show(self) -> None:
        """Print the verdict, what to look at and the main figures; in a notebook, display the page."""
        # Imported here because they render reports, and so build on this file.
        from synthmill.evaluation.show import show

        show(self)

    def to_html(self) -> str:
        """The whole page, self-contained."""
        from synthmill.evaluation.html import to_html

        return to_html(self)

    def _repr_html_(self) -> str:
        """What a notebook displays: the page in a frame of its own, so that its style stays there."""
        page = escape(self.to_html(), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:900px;border:0"></iframe>'

    def passed(self, *, allow_inconclusive: bool = False) -> bool:
        """Whether `--require pass` is met: no error gate failed, and none was inconclusive unless allowed."""
        return self.verdict in ("pass", "warn") or (allow_inconclusive and self.verdict == "inconclusive")

    @property
    def exit_code(self) -> int:
        """1 if an error gate failed, else 0."""
        return GateFailedError.exit_code if self.verdict == "fail" else 0

    def failing(self) -> list[GateResult]:
        """Gates of severity warn or error that failed or are inconclusive, the worst first."""
        rank = {"error": 0, "warn": 1, "info": 2}
        # An inconclusive gate is listed: what was not tested is not passed.
        bad = [g for g in self.gates if g.status in ("fail", "inconclusive") and g.severity != "info"]
        return sorted(bad, key=lambda g: (g.status != "fail", rank[g.severity], g.id))


def from_json(data: bytes) -> Report:
    """A report read back."""
    return Report.model_validate_json(data)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        # JSON has no NaN or infinity, and other languages' parsers refuse Python's.
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def sentence(
    verdict: Verdict,
    gates: tuple[GateResult, ...],
    profile: str,
    results: Mapping[str, Result],
    columns: Collection[str],
) -> str:
    """Why the verdict is what it is, in one line that names the columns at fault."""
    judged = [g for g in gates if g.status in ("pass", "fail", "inconclusive")]
    failed = [g for g in judged if g.status == "fail" and g.severity == "error"]
    warned = [g for g in judged if g.status == "fail" and g.severity == "warn"]
    unsure = [g for g in judged if g.status == "inconclusive" and g.severity == "error"]
    required = [g for g in judged if g.severity == "error"]
    tail = f" ({len(judged)} gates judged, profile {profile})"
    if verdict == "fail" and failed:
        at_fault = _names(failed, results, columns)
        return f"{len(failed)} of {len(required)} required gates failed: {at_fault}{tail}"
    if verdict in ("inconclusive", "fail"):
        if not unsure:
            return f"no gate that can fail was judged{tail}"
        return (
            f"nothing failed, but {_names(unsure, results, ())} can't be decided: {unsure[0].explain}{tail}"
        )
    if verdict == "warn":
        return f"every required gate passed; look at {_names(warned, results, columns)}{tail}"
    return f"every gate passed{tail}"


def _names(gates: list[GateResult], results: Mapping[str, Result], columns: Collection[str]) -> str:
    """Titles of the gates' metrics, each with the columns at fault."""
    # A leak is the first thing to know, whatever else failed.
    order = sorted(gates, key=lambda g: not g.metric.startswith("privacy."))
    metrics = list(dict.fromkeys(g.metric for g in order))
    names = []
    for metric in metrics[:SHOWN_GATES]:
        fault = columns_at_fault(results[metric], columns, SHOWN_COLUMNS) if columns else []
        listed = ", ".join(name for name, _ in fault)
        names.append(f"{title(metric)} ({listed})" if listed else title(metric))
    more = len(metrics) - SHOWN_GATES
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")
