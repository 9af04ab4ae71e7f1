"""The outcome of an evaluation: `report.json`, format `synthmill.report/1`. docs/evaluation.md documents
every field."""

import hashlib
import json
import math
from typing import Any, Literal

from pydantic import ConfigDict, Field

from synthmill import __version__
from synthmill.config import FrozenModel
from synthmill.errors import GateFailedError, NotFoundError, did_you_mean
from synthmill.evaluation.gates import GateResult, Verdict
from synthmill.metrics.base import Result, metric_classes

FORMAT = "synthmill.report/1"


class Privacy(FrozenModel):
    """What the privacy figures are about."""

    threat_model: str
    tested: tuple[str, ...]
    not_tested: tuple[str, ...]
    disclaimer: str


class Report(FrozenModel):
    """Everything an evaluation found. Contains no row of any table."""

    model_config = ConfigDict(populate_by_name=True)

    format: Literal["synthmill.report/1"] = "synthmill.report/1"
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
    """Contact sheets as data URIs: `samples`, `latent`, and `neighbours` (which shows real images) when asked
    for. The file calls it `pictures`, as its first versions did."""
    neighbours: tuple[dict[str, Any], ...] = ()
    """The synthetic rows nearest to a real one: distance, the real one's side, and the columns that
    differ."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    timings: dict[str, float] = Field(default_factory=dict)
    """Seconds by stage and metric."""

    def to_json(self) -> bytes:
        """Canonical JSON: sorted keys, no NaN, one trailing newline."""
        return (
            json.dumps(
                _finite(self.model_dump(mode="json", by_alias=True)),
                sort_keys=True,
                indent=1,
                allow_nan=False,
            )
            + "\n"
        ).encode()

    @property
    def confidence(self) -> float:
        """Two-sided level of the intervals; reports before it could be set have 0.95."""
        return float(self.config.get("confidence", 0.95))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of `to_json`, for manifests."""
        return hashlib.sha256(self.to_json()).hexdigest()

    def __getitem__(self, name: str) -> Result:
        """A metric's result: by its name (`tabular.pair_gap`), or by axis and last part
        (`fidelity.pair_gap`).

        Raises:
            NotFoundError: the report has no such figure; names the closest.
        """
        found = self.metrics.get(name)
        if found is not None:
            return found
        by_axis = {f"{r.axis}.{key.rpartition('.')[2]}": r for key, r in self.metrics.items()}
        if name not in by_axis:
            known = [*self.metrics, *by_axis]
            raise NotFoundError(f"no figure named {name!r}{did_you_mean(name, known)}", field="report")
        return by_axis[name]

    def show(self) -> None:
        """The whole report in a notebook; its summary as text elsewhere."""
        from synthmill.evaluation.show import show

        show(self)

    def _repr_html_(self) -> str:
        from synthmill.evaluation.show import to_frame

        return to_frame(self)

    def passed(self, *, allow_inconclusive: bool = False) -> bool:
        """Whether `--require pass` is met: no error gate failed and, unless allowed, none was
        inconclusive."""
        return self.verdict in ("pass", "warn") or (allow_inconclusive and self.verdict == "inconclusive")

    @property
    def exit_code(self) -> int:
        """1 if an error gate failed, else 0."""
        return GateFailedError.exit_code if self.verdict == "fail" else 0

    def failing(self) -> list[GateResult]:
        """Gates of severity warn or error that failed or are inconclusive, the worst first."""
        rank = {"error": 0, "warn": 1, "info": 2}
        bad = [g for g in self.gates if g.status in ("fail", "inconclusive") and g.severity != "info"]
        return sorted(bad, key=lambda g: (g.status != "fail", rank[g.severity], g.id))


def from_json(data: bytes) -> Report:
    """A report read back."""
    return Report.model_validate_json(data)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def sentence(verdict: Verdict, gates: tuple[GateResult, ...], profile: str) -> str:
    """Why the verdict is what it is, in one line."""
    judged = [g for g in gates if g.status in ("pass", "fail", "inconclusive")]
    failed = [g for g in judged if g.status == "fail" and g.severity == "error"]
    warned = [g for g in judged if g.status == "fail" and g.severity == "warn"]
    unsure = [g for g in judged if g.status == "inconclusive" and g.severity == "error"]
    required = [g for g in judged if g.severity == "error"]
    tail = f" ({len(judged)} gates judged, profile {profile})"
    if verdict == "fail" and failed:
        return f"{len(failed)} of {len(required)} required gates failed: {_names(failed)}{tail}"
    if verdict in ("inconclusive", "fail"):
        if not unsure:
            return f"no gate that can fail was judged{tail}"
        return f"nothing failed, but {_names(unsure)} can't be decided: {unsure[0].explain}{tail}"
    if verdict == "warn":
        return f"every required gate passed; look at {_names(warned)}{tail}"
    return f"every gate passed{tail}"


def _names(gates: list[GateResult]) -> str:
    order = sorted(gates, key=lambda g: not g.metric.startswith("privacy."))
    names = list(dict.fromkeys(_title(g.metric) for g in order))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _title(name: str) -> str:
    classes = metric_classes()
    return classes[name].title if name in classes else name
