"""Evaluate synthetic data of any kind against real rows: one call from tables to a report. Runs without a
cluster.

`map_tasks` decides where the work runs: the default is a plain loop, `runtime/` passes one that uses Ray
tasks. What depends on the kind of data is in its door (`evaluation/evidence/`).
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from synthmill.config import fingerprint
from synthmill.errors import RecipeError, did_you_mean
from synthmill.evaluation.baseline import incomparable, regressions
from synthmill.evaluation.evidence.base import Evidence, Options, Request, Rows, evidence_door, refuse_ignored
from synthmill.evaluation.gates import Gates, judge, load_gates, verdict
from synthmill.evaluation.privacy import privacy_section
from synthmill.evaluation.report import Report, sentence
from synthmill.evaluation.sheets import data_uri
from synthmill.evaluation.tables import Tables
from synthmill.metrics.base import PROFILES, MapTasks, Metric, Profile, Result, Retrain, map_serially

DEFAULTS = Options()


def evaluate(
    tables: Tables,
    *,
    kind: str = "table",
    target: str | None = None,
    profile: Profile = "standard",
    seed: int = 0,
    sample_rows: Rows = None,
    gates: Gates | None = None,
    baseline: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    map_tasks: MapTasks | None = None,
    requested_rows: int | None = None,
    options: Options = DEFAULTS,
    retrain: Retrain | None = None,
    sheets: Mapping[str, bytes] | None = None,
) -> Report:
    """Compute the profile's metrics (and those named in `options.include`) and judge them by the gates.

    Args:
        sample_rows: rows a side for figures that can't read everything; None: what the kind and the profile
            say; "all": every row.
        gates: None: those that ship for this kind of data.
        baseline: an earlier report's JSON; figures that got worse are flagged.
        requested_rows: how many rows were requested of the generator.
        retrain: (subset, seed) -> synthetic rows of a freshly trained generator, for figures that retrain.
        sheets: further contact sheets (PNG) for the report, by name.

    Raises:
        DataError: data that can't be compared; the message names the table and column.
        RecipeError: an unknown profile, metric or option.
        UserError: an option that this kind of data would ignore.
    """
    started = time.monotonic()
    # Before any work: what would be ignored, or can't be meant, must not cost an hour first.
    if profile not in PROFILES:
        raise RecipeError(f"no profile named {profile!r}{did_you_mean(profile, PROFILES)}", field="profile")
    if isinstance(sample_rows, int) and sample_rows < 1:
        raise RecipeError(f"must be a positive number or 'all', got {sample_rows}", field="sample_rows")
    refuse_ignored(kind, options)
    door = evidence_door(kind)
    gates = gates or load_gates(shipped=door.gates_file())
    request = Request(
        target=target,
        profile=profile,
        seed=seed,
        sample_rows=sample_rows,
        gates=gates,
        options=options,
        map_tasks=map_tasks or map_serially,
        requested_rows=requested_rows,
        retrain=retrain,
        sheets=sheets,
    )
    chosen = door.metrics(kind, profile, options.include)
    evidence = door.gather(tables, request)
    timings = {"read": time.monotonic() - started}
    results = compute(evidence, evidence.relevant(chosen), gates.defaults.confidence, timings)
    report = _report(evidence, results, tables, request, baseline or {}, provenance or {}, kind)
    # Last, because plots and contact sheets are work too.
    timings["total"] = time.monotonic() - started
    return report.model_copy(update={"timings": {key: round(value, 3) for key, value in timings.items()}})


def _report(
    evidence: Evidence,
    results: dict[str, Result],
    tables: Tables,
    request: Request,
    baseline: Mapping[str, Any],
    provenance: Mapping[str, Any],
    kind: str,
) -> Report:
    gates = request.gates
    outcomes = (*judge(gates, results), *regressions(gates, results, baseline))
    decided = verdict(outcomes, gates.defaults)
    # `asked` is the file's key since its first version.
    inputs = {**({"asked": tables.asked} if tables.asked else {}), **evidence.inputs()}
    return Report(
        kind=kind,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=decided,
        summary=sentence(decided, outcomes, request.profile, results, list(inputs["columns"])),
        inputs=inputs,
        config={
            "profile": request.profile,
            "seed": request.seed,
            "confidence": gates.defaults.confidence,
            "gates": gates.model_dump(mode="json", exclude_defaults=True),
            "gates_sha256": fingerprint(gates),
            **evidence.config(),
        },
        gates=outcomes,
        metrics=results,
        privacy=privacy_section(results, evidence.has_holdout, kind=kind, kept_rare=tables.kept_rare),
        plots=evidence.plots(results),
        images={name: data_uri(content) for name, content in evidence.images().items()},
        neighbours=evidence.neighbours(),
        provenance={**provenance, **evidence.provenance()},
        warnings=(*tables.notes, *evidence.warnings(results), *incomparable(results, baseline)),
    )


def compute(
    evidence: Evidence,
    chosen: Sequence[type[Metric[Any]]],
    confidence: float,
    timings: dict[str, float] | None = None,
) -> dict[str, Result]:
    """Every chosen metric's result, by name; one whose needs aren't met says so instead of a value."""
    results: dict[str, Result] = {}
    for metric in chosen:
        begun = time.monotonic()
        need = evidence.unmet(metric)
        result = (
            metric.result(status=need.status, reason=need.reason)
            if need
            else metric().compute(evidence.for_metric(metric))
        )
        # By the plain name, as gates know it; `metric` in the result has the extractor.
        results[metric.name] = result.model_copy(update={"confidence": confidence})
        if timings is not None:
            timings[metric.name] = time.monotonic() - begun
    return results
