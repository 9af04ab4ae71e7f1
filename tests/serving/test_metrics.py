from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

import synthmill.serving.service as service
from synthmill.serving.metrics import METRICS, Metrics, Series, add_up, render


def test_replicas_add_up():
    first, second = Metrics(), Metrics()
    first.add("synthmill_rows_total", 10, model="a@1")
    second.add("synthmill_rows_total", 5, model="a@1")
    second.add("synthmill_rows_total", 1, model="b@1")
    assert add_up([first.values(), second.values()]) == {
        Series("synthmill_rows_total", (("model", "a@1"),)): 15,
        Series("synthmill_rows_total", (("model", "b@1"),)): 1,
    }


def test_a_report_that_comes_twice_counts_once():
    metrics, reports = Metrics(), {}
    metrics.add("synthmill_rows_total", 10, model="a@1")
    for _ in range(2):
        reports["replica"] = metrics.values()
    metrics.add("synthmill_rows_total", 1, model="a@1")
    reports["replica"] = metrics.values()
    assert list(add_up(reports.values()).values()) == [11]


def test_text_is_what_prometheus_reads():
    first, second = Metrics(), Metrics()
    first.add("synthmill_requests_total", 2, endpoint="/v1", model='a"b\\c\nd', status="200")
    for metrics in (first, second):
        for seconds in (0.001, 0.07, 99.0):
            metrics.observe("synthmill_request_seconds", seconds, endpoint="/v1")
    second.observe("synthmill_request_seconds", 0.001, endpoint="/other")
    text = render({**add_up([first.values(), second.values()]), Series("synthmill_replicas"): 2.0})
    families = {family.name: family for family in text_string_to_metric_families(text)}
    [requests] = families["synthmill_requests"].samples
    assert requests.name == "synthmill_requests_total"
    assert requests.labels == {"endpoint": "/v1", "model": 'a"b\\c\nd', "status": "200"}
    assert requests.value == 2
    seconds = families["synthmill_request_seconds"]
    assert seconds.type == "histogram"
    counts = [
        (sample.labels["le"], sample.value)
        for sample in seconds.samples
        if sample.name.endswith("_bucket") and sample.labels["endpoint"] == "/v1"
    ]
    assert counts[0] == ("0.005", 2)
    assert counts[-1] == ("+Inf", 6)
    assert [count for _, count in counts] == sorted(count for _, count in counts)
    assert 'synthmill_request_seconds_count{endpoint="/v1"} 6' in text
    assert text.count("# TYPE synthmill_request_seconds histogram") == 1
    assert "# TYPE synthmill_replicas gauge" in text
    assert "_created" not in text


def test_every_metric_in_the_code_is_defined():
    used = {
        word
        for path in Path(service.__file__).parent.rglob("*.py")
        for word in path.read_text().split('"')
        if word.startswith("synthmill_") and word != "synthmill_key"
    }
    assert used - {name for name in used if " " in name} == set(METRICS)
