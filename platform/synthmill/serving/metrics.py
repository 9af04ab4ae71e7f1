"""Counters and gauges in Prometheus' text format, added up over replicas.

A replica sends what its counters grew by since the last time; the sums are kept in one place, so that
whichever replica answers `GET /metrics` tells of the whole application, and a stopped replica's counts stay.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import NamedTuple

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BOUNDS = (*(f"{bound:g}" for bound in BUCKETS_S), "+Inf")

HELP = {
    "synthmill_requests_total": ("counter", "Requests answered, by endpoint, model version and status."),
    "synthmill_rows_total": ("counter", "Rows and images sent, by model version."),
    "synthmill_model_seconds_total": ("counter", "Seconds spent generating and encoding, by model version."),
    "synthmill_rejections_total": (
        "counter",
        "Requests refused, by reason: auth, scope, quota, queue, limit, input.",
    ),
    "synthmill_batches_total": ("counter", "Calls of a model that small requests shared."),
    "synthmill_batch_rows_total": (
        "counter",
        "Rows in those calls; divided by the capacity: how full they are.",
    ),
    "synthmill_batch_requests_total": ("counter", "Requests in those calls."),
    "synthmill_batch_capacity_rows_total": ("counter", "Rows those calls could have had."),
    "synthmill_request_seconds": (
        "histogram",
        "Time from a request's arrival to the first byte of its answer.",
    ),
    "synthmill_queued_rows": ("gauge", "Rows asked for and not yet answered, all replicas."),
    "synthmill_streams": ("gauge", "Large requests being answered, all replicas."),
    "synthmill_replicas": ("gauge", "Replicas that reported lately."),
    "synthmill_loaded_models": ("gauge", "Model versions in memory, all replicas."),
    "synthmill_jobs": ("gauge", "Jobs, by status."),
}


class Series(NamedTuple):
    """One time series."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()


Values = dict[Series, float]


class Metrics:
    """What happened in this process since the last `drain`. Used from the event loop's thread alone."""

    def __init__(self) -> None:
        self._grown: defaultdict[Series, float] = defaultdict(float)
        self._observed: defaultdict[Series, list[float]] = defaultdict(lambda: [0.0] * (len(BUCKETS_S) + 2))

    def add(self, metric: str, amount: float, /, **labels: str) -> None:
        """Count."""
        self._grown[Series(metric, tuple(sorted(labels.items())))] += amount

    def observe(self, metric: str, seconds: float, /, **labels: str) -> None:
        """Add to a histogram."""
        counts = self._observed[Series(metric, tuple(sorted(labels.items())))]
        counts[bisect_left(BUCKETS_S, seconds)] += 1
        counts[-1] += seconds

    def drain(self) -> Values:
        """What counters grew by since the last time; histograms as cumulative buckets, count and sum."""
        for (metric, labels), (*counts, total) in self._observed.items():
            for bound, count in zip(BOUNDS, accumulate(counts), strict=True):
                self.add(f"{metric}_bucket", count, **dict(labels), le=bound)
            self.add(f"{metric}_count", sum(counts), **dict(labels))
            self.add(f"{metric}_sum", total, **dict(labels))
        self._observed.clear()
        grown, self._grown = dict(self._grown), defaultdict(float)
        return grown

    def put_back(self, grown: Mapping[Series, float]) -> None:
        """Undo a `drain` whose result could not be delivered."""
        for series, amount in grown.items():
            self._grown[series] += amount


def merge(totals: Values, grown: Mapping[Series, float]) -> None:
    """Add to the sums, in place."""
    for series, amount in grown.items():
        series = Series(*series)
        totals[series] = totals.get(series, 0.0) + amount


def render(values: Mapping[Series, float]) -> str:
    """Prometheus' text exposition format, version 0.0.4."""
    lines: list[str] = []
    for family, (kind, text) in HELP.items():
        found = [(series, value) for series, value in values.items() if _family(series.name) == family]
        if found:
            lines += [f"# HELP {family} {text}", f"# TYPE {family} {kind}"]
            lines += [
                f"{series.name}{_labels(series.labels)} {value:.10g}"
                for series, value in sorted(found, key=_order)
            ]
    return "\n".join(lines) + "\n"


def _family(name: str) -> str:
    for ending in ("_bucket", "_count", "_sum"):
        if name.endswith(ending) and name.removesuffix(ending) in HELP:
            return name.removesuffix(ending)
    return name


def _order(item: tuple[Series, float]) -> tuple[str, list[tuple[str, str]], float]:
    name, labels = item[0]
    bound = dict(labels).get("le", "0")
    return name, [label for label in labels if label[0] != "le"], float(bound.replace("+Inf", "inf"))


def _labels(labels: Iterable[tuple[str, str]]) -> str:
    told = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels)
    return f"{{{told}}}" if told else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
