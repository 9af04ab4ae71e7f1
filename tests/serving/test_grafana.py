"""The dashboard in deploy/: every metric in it is one that `GET /metrics` shows, and none is left out."""

import json
import re

from processes import ROOT
from synthmill.serving.metrics import METRICS

PANELS = json.loads((ROOT / "deploy/grafana.json").read_text())["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
BY_GROUP = re.compile(r"\b(?:by|without) \(([^)]*)\)")


def exported(name: str) -> str | None:
    """The metric that a series belongs to."""
    for suffix in ("", "_bucket", "_sum", "_count"):
        base = name.removesuffix(suffix) if suffix else name
        if base in METRICS and (METRICS[base].kind == "histogram") == bool(suffix):
            return base
    return None


def test_every_metric_of_the_dashboard_exists_and_all_are_shown() -> None:
    series = {name for query in QUERIES for name in re.findall(r"\bsynthmill_\w+", query)}
    assert {name for name in series if exported(name) is None} == set()
    assert {exported(name) for name in series} == set(METRICS)


def test_counters_are_rates_and_labels_exist() -> None:
    for query in QUERIES:
        for name in re.findall(r"\bsynthmill_\w+", query):
            metric = METRICS[str(exported(name))]
            assert (f"rate({name}[" in query) == (metric.kind != "gauge"), query
            groups = {label.strip() for found in BY_GROUP.findall(query) for label in found.split(",")}
            assert groups <= {*metric.labels, "le"}, query


def test_panels_do_not_lie_on_each_other() -> None:
    places = [tuple(panel["gridPos"][key] for key in ("x", "y")) for panel in PANELS]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in PANELS})
