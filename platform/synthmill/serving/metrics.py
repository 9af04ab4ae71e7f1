"""What `GET /metrics` shows Prometheus: the whole application, whichever replica answers.

A replica counts in its own process and reports all its counts every second; the shared state has each
replica's last report and adds them up. So a report may be lost or come twice, the counts of a stopped replica
stay, and an actor that was restarted soon knows what living replicas counted before.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Definition(NamedTuple):
    """One metric."""

    kind: Literal["counter", "histogram", "gauge"]
    text: str
    labels: tuple[str, ...] = ()


METRICS = {
    "synthmill_requests_total": Definition(
        "counter",
        "Requests answered, by endpoint, model version and status.",
        ("endpoint", "model", "status"),
    ),
    "synthmill_rows_total": Definition("counter", "Rows and images sent, by model version.", ("model",)),
    "synthmill_model_seconds_total": Definition(
        "counter", "Seconds spent generating and encoding, by model version.", ("model",)
    ),
    "synthmill_rejections_total": Definition(
        "counter",
        "Requests refused, by reason: auth, scope, quota, queue, limit, input, store.",
        ("reason",),
    ),
    "synthmill_batches_total": Definition(
        "counter", "Calls of a model that small requests shared.", ("model",)
    ),
    "synthmill_batch_rows_total": Definition(
        "counter", "Rows in those calls; divided by the capacity: how full they are.", ("model",)
    ),
    "synthmill_batch_requests_total": Definition("counter", "Requests in those calls.", ("model",)),
    "synthmill_batch_capacity_rows_total": Definition(
        "counter", "Rows those calls could have had.", ("model",)
    ),
    "synthmill_request_seconds": Definition(
        "histogram", "Time from a request's arrival to the first byte of its answer.", ("endpoint",)
    ),
    "synthmill_queued_rows": Definition("gauge", "Unanswered rows of small requests, all replicas."),
    "synthmill_streams": Definition("gauge", "Large requests being answered, all replicas."),
    "synthmill_replicas": Definition("gauge", "Replicas that reported lately."),
    "synthmill_loaded_models": Definition("gauge", "Model versions in memory, all replicas."),
    "synthmill_jobs": Definition("gauge", "Jobs, by status.", ("status",)),
}


class Series(NamedTuple):
    """One time series; of a histogram, one bucket, its count or its sum."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()


Values = dict[Series, float]


class Metrics:
    """What happened in this process since it began."""

    def __init__(self) -> None:
        # One of its own: the default registry belongs to the process, which in tests has several services.
        self._registry = CollectorRegistry()
        self._counters = {
            name: Counter(name, metric.text, metric.labels, registry=self._registry)
            for name, metric in METRICS.items()
            if metric.kind == "counter"
        }
        self._histograms = {
            name: Histogram(name, metric.text, metric.labels, buckets=BUCKETS_S, registry=self._registry)
            for name, metric in METRICS.items()
            if metric.kind == "histogram"
        }

    def add(self, metric: str, amount: float, /, **labels: str) -> None:
        """Count."""
        self._counters[metric].labels(**labels).inc(amount)

    def observe(self, metric: str, seconds: float, /, **labels: str) -> None:
        """Add to a histogram."""
        self._histograms[metric].labels(**labels).observe(seconds)

    def values(self) -> Values:
        """Everything counted so far."""
        return {
            Series(sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self._registry.collect()
            for sample in family.samples
            # When a series began, which no query of ours needs.
            if not sample.name.endswith("_created")
        }


def add_up(reports: Iterable[Mapping[Series, float]]) -> Values:
    """The sums over replicas; buckets stay in their order."""
    totals: Values = {}
    for report in reports:
        for series, amount in report.items():
            # Plain tuples, when they come from another process.
            series = Series(*series)
            totals[series] = totals.get(series, 0.0) + amount
    return totals


def render(values: Mapping[Series, float]) -> str:
    """Prometheus' text exposition format, version 0.0.4."""
    return generate_latest(_Given(values)).decode()


class _Given(Collector):
    """Sums as families, in the order of `METRICS`."""

    def __init__(self, values: Mapping[Series, float]) -> None:
        self._values = values

    def collect(self) -> Iterator[Metric]:
        families = {
            name: Metric(name.removesuffix("_total"), metric.text, metric.kind)
            for name, metric in METRICS.items()
        }
        for series, value in self._values.items():
            # Of a histogram, a series is named after its bucket, count or sum.
            name = series.name if series.name in METRICS else series.name.rpartition("_")[0]
            families[name].add_sample(series.name, dict(series.labels), value)
        yield from (family for family in families.values() if family.samples)
