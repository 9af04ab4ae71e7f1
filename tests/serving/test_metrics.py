from synthmill.serving.metrics import HELP, Metrics, Series, merge, render


def test_growth_adds_up_over_replicas():
    first, second, totals = Metrics(), Metrics(), {}
    first.add("synthmill_rows_total", 10, model="a@1")
    second.add("synthmill_rows_total", 5, model="a@1")
    second.add("synthmill_rows_total", 1, model="b@1")
    for replica in (first, second, first):
        merge(totals, replica.drain())
    assert totals == {
        Series("synthmill_rows_total", (("model", "a@1"),)): 15,
        Series("synthmill_rows_total", (("model", "b@1"),)): 1,
    }


def test_what_could_not_be_delivered_is_not_lost():
    metrics = Metrics()
    metrics.add("synthmill_rows_total", 10, model="a@1")
    grown = metrics.drain()
    metrics.add("synthmill_rows_total", 1, model="a@1")
    metrics.put_back(grown)
    assert list(metrics.drain().values()) == [11]


def test_text_is_what_prometheus_reads():
    metrics = Metrics()
    metrics.add("synthmill_requests_total", 2, endpoint="/v1", model='a"b\\c\nd', status="200")
    for seconds in (0.001, 0.07, 99.0):
        metrics.observe("synthmill_request_seconds", seconds, endpoint="/v1")
    text = render(metrics.drain())
    assert 'synthmill_requests_total{endpoint="/v1",model="a\\"b\\\\c\\nd",status="200"} 2\n' in text
    buckets = [line for line in text.splitlines() if "_bucket" in line]
    assert buckets[0].endswith('le="0.005"} 1')
    assert buckets[-1].endswith('le="+Inf"} 3')
    counts = [int(line.rsplit(" ", 1)[1]) for line in buckets]
    assert counts == sorted(counts)
    assert 'synthmill_request_seconds_count{endpoint="/v1"} 3' in text
    assert text.count("# TYPE synthmill_request_seconds histogram") == 1


def test_every_metric_in_the_code_is_explained():
    from pathlib import Path

    import synthmill.serving.service as module

    folder = Path(module.__file__).parent
    used = {
        word
        for path in folder.glob("*.py")
        for word in path.read_text().split('"')
        if word.startswith("synthmill_") and word != "synthmill_key"
    }
    assert used - {name for name in used if " " in name} == set(HELP)
