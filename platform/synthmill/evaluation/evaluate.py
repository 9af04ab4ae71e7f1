"""Evaluate synthetic data of any kind against real rows: one call from tables to a report. Runs without a
cluster.

`map_tasks` decides where the work runs: the default is a plain loop, `runtime/` passes one that uses Ray
tasks. What depends on the kind of data stands in its door (`evaluation/evidence/`).
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from synthmill.config import fingerprint
from synthmill.errors import RecipeError, did_you_mean
from synthmill.evaluation.baseline import incomparable, regressions
from synthmill.evaluation.evidence.base import (
    Evidence,
    Options,
    Request,
    Rows,
    evidence_door,
    refuse_ignored,
)
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
    """Compute the profile's metrics (and those named in `options.include`) and hold them against the gates.

    Args:
        sample_rows: rows a side for figures that can't read everything; None: what the kind and the profile
            say; "all": every row.
        gates: None: those that ship for this kind of data.
        baseline: an earlier report's JSON; figures that got worse are flagged.
        requested_rows: how many rows the generator was asked for.
        retrain: (subset, seed) -> synthetic rows of a freshly trained generator, for figures that retrain.
        sheets: further contact sheets (PNG) for the report, by name.

    Raises:
        DataError: data that can't be compared; the message names the table and column.
        RecipeError: an unknown profile, metric or option.
        UserError: an option that this kind of data would ignore.
    """
    started = time.monotonic()
    door = evidence_door(kind)
    _check(kind, profile, sample_rows, options)
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
    found = door.gather(tables, request)
    timings = {"read": time.monotonic() - started}
    results = compute(found, chosen, gates.defaults.confidence, timings)
    outcomes = (*judge(gates, results), *(regressions(gates, results, baseline) if baseline else ()))
    decided = verdict(outcomes, gates.defaults)
    inputs = {**({"asked": tables.asked} if tables.asked else {}), **found.inputs()}
    images = {name: data_uri(content) for name, content in found.images().items()}
    plots, nearest = found.plots(results), found.neighbours()
    timings["total"] = time.monotonic() - started
    return Report(
        kind=kind,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=decided,
        summary=sentence(decided, outcomes, profile, results, list(inputs["columns"])),
        inputs=inputs,
        config={**_config(request), **found.config()},
        gates=outcomes,
        metrics=results,
        privacy=privacy_section(results, found.has_holdout, kind=kind),
        plots=plots,
        images=images,
        neighbours=nearest,
        provenance={**(provenance or {}), **found.provenance()},
        warnings=(
            *tables.notes,
            *found.warnings(results),
            *(incomparable(results, baseline) if baseline else ()),
        ),
        timings={key: round(value, 3) for key, value in timings.items()},
    )


def compute(
    found: Evidence,
    chosen: Sequence[type[Metric[Any]]],
    confidence: float,
    timings: dict[str, float] | None = None,
) -> dict[str, Result]:
    """Every chosen metric's result, by name; one whose needs aren't met says so instead of a value."""
    results: dict[str, Result] = {}
    for metric in chosen:
        begun = time.monotonic()
        need = found.unmet(metric)
        if need is not None:
            result = metric.missing(need.status, need.reason)
        else:
            result = metric().compute(found.for_metric(metric))
        results[metric.name] = result.model_copy(update={"confidence": confidence})
        if timings is not None:
            timings[metric.name] = time.monotonic() - begun
    return results


def _check(kind: str, profile: str, sample_rows: Rows, options: Options) -> None:
    if profile not in PROFILES:
        raise RecipeError(f"no profile named {profile!r}{did_you_mean(profile, PROFILES)}", field="profile")
    if isinstance(sample_rows, int) and sample_rows < 1:
        raise RecipeError(f"must be a positive number or 'all', got {sample_rows}", field="sample_rows")
    refuse_ignored(kind, options)


def _config(request: Request) -> dict[str, Any]:
    return {
        "profile": request.profile,
        "seed": request.seed,
        "confidence": request.gates.defaults.confidence,
        "gates": request.gates.model_dump(mode="json", exclude_defaults=True),
        "gates_sha256": fingerprint(request.gates),
    }
