import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from http_app import Running, running
from processes import until
from synthmill.catalog.provenance import read_provenance
from synthmill.catalog.store import Store
from synthmill.generation.generator import Generator
from synthmill.serving.formats import END_KEY, FORMATS

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
ROWS = "/v1/models/customers/rows"


def ask(
    client: httpx.Client, body: object, accept: str = "application/json", path: str = ROWS
) -> httpx.Response:
    return client.post(path, json=body, headers={"Accept": accept})


def read(media_type: str, data: bytes) -> pa.Table | list[dict[str, object]]:
    """The rows of an answer."""
    if media_type == ARROW:
        return pa.ipc.open_stream(data).read_all()
    if media_type == PARQUET:
        return pa.parquet.read_table(io.BytesIO(data))
    if media_type == "text/csv":
        return pa.csv.read_csv(io.BytesIO(data))
    if media_type == "application/json":
        return json.loads(data)["rows"]
    return [json.loads(line) for line in data.splitlines()][:-1]


@pytest.fixture(scope="module")
def generator(model_store: Path) -> Generator:
    return Generator.load(Store(model_store).resolve("models", "customers", field="model"))


@pytest.mark.parametrize("media_type", list(FORMATS))
@pytest.mark.parametrize("rows", [3, 9000])
def test_rows_come_in_every_format(client: httpx.Client, media_type: str, rows: int):
    answer = ask(client, {"num_rows": rows}, media_type)
    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] == media_type
    found = read(media_type, answer.content)
    assert len(found) == rows
    names = found.column_names if isinstance(found, pa.Table) else list(found[0])
    assert names[:3] == ["customer", "age", "plan"]


@pytest.mark.parametrize(
    "body",
    [
        {"num_rows": 20, "seed": 7},
        {"num_rows": 70_000, "seed": 7, "columns": ["age", "city"]},
        {"num_rows": 1500, "seed": 0, "where": ["plan=pro", "age>=30"]},
    ],
)
def test_a_seed_gives_the_rows_of_the_job(
    client: httpx.Client, generator: Generator, body: dict[str, object]
):
    served = read(ARROW, ask(client, body, ARROW).content)
    expected = generator.sample(
        body["num_rows"], seed=body["seed"], where=tuple(body.get("where", ())), columns=body.get("columns")
    )
    assert served.replace_schema_metadata(None).equals(expected.combine_chunks())


def test_without_a_seed_rows_differ(client: httpx.Client):
    first, second = (ask(client, {"num_rows": 50}).json()["rows"] for _ in range(2))
    assert first != second


def test_one_condition_may_stand_alone(client: httpx.Client):
    rows = ask(client, {"num_rows": 30, "where": "plan=pro", "columns": ["plan"]}).json()["rows"]
    assert rows == [{"plan": "pro"}] * 30


@pytest.mark.parametrize(
    "where",
    [
        {"plan": "pro"},
        {"column": "plan", "op": "=", "value": "pro"},
        [{"column": "plan", "value": "pro"}, "`age`>=18", {"column": "age", "op": ">=", "value": 18}],
    ],
)
def test_conditions_may_be_objects(client: httpx.Client, where: object):
    rows = ask(client, {"num_rows": 30, "where": where, "columns": ["plan"]}).json()["rows"]
    assert rows == [{"plan": "pro"}] * 30


def test_every_answer_says_what_made_it(client: httpx.Client, generator: Generator):
    answer = ask(client, {"num_rows": 2, "seed": 5}, PARQUET)
    assert answer.headers["x-ai-generated"] == "true"
    assert answer.headers["x-digital-source-type"].endswith("/trainedAlgorithmicMedia")
    assert answer.headers["x-synthmill-model"] == "customers@2"
    assert answer.headers["x-synthmill-digest"] == generator.digest
    assert "synthetic" in answer.headers["content-disposition"]
    metadata = {
        key.decode(): value.decode()
        for key, value in pa.parquet.read_schema(io.BytesIO(answer.content)).metadata.items()
    }
    assert json.loads(metadata["AIGC"])["Label"] == "1"
    told = read_provenance(metadata, uri="answer")
    assert (told["model"], told["model_digest"], told["seed"]) == ("customers@2", generator.digest, 5)
    assert ask(client, {"num_rows": 2}).json()["ai_generated"] is True
    assert (
        json.loads(ask(client, {"num_rows": 2}, "application/x-ndjson").content.splitlines()[-1])[END_KEY][
            "ai_generated"
        ]
        is True
    )


def test_versions_can_be_chosen(client: httpx.Client):
    refs = [
        ask(client, {"num_rows": 1}, path=f"/v1/models/{ref}/rows").headers["x-synthmill-model"]
        for ref in ("customers@1", "customers")
    ]
    assert refs == ["customers@1", "customers@2"]


def test_models_are_listed_and_described(client: httpx.Client):
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["customers", "other"]
    told = client.get("/v1/models/customers").json()
    assert told["ref"] == "customers@2"
    assert told["modality"] == "table"
    assert told["verdict"] == "not evaluated"
    assert told["quality"] == {"score": 0.9, "ceiling": 0.95}
    assert told["card"].startswith("# customers")
    assert set(told["conditions"]["operators"]) == {"=", "!=", "<", "<=", ">", ">=", "in"}
    plan = next(column for column in told["schema"] if column["name"] == "plan")
    assert sorted(plan["levels"]) == ["basic", "pro", "team"]
    age = next(column for column in told["schema"] if column["name"] == "age")
    assert age["minimum"] < age["maximum"]


WRONG = {
    "no rows": ({"num_rows": 0}, 422, "num_rows"),
    "negative rows": ({"num_rows": -5}, 422, "num_rows"),
    "huge rows": ({"num_rows": 10**11}, 422, "num_rows"),
    "absurd rows": ({"num_rows": 10**40}, 422, "num_rows"),
    "text rows": ({"num_rows": "ten"}, 422, "num_rows"),
    "real rows": ({"num_rows": 1.5}, 422, "num_rows"),
    "true rows": ({"num_rows": True}, 422, "num_rows"),
    "missing rows": ({}, 422, "num_rows"),
    "negative seed": ({"num_rows": 1, "seed": -1}, 422, "seed"),
    "huge seed": ({"num_rows": 1, "seed": 2**63}, 422, "seed"),
    "unknown field": ({"num_rows": 1, "sed": 1}, 422, "sed"),
    "unknown column": ({"num_rows": 1, "columns": ["agee"]}, 422, "columns"),
    "unknown column, seeded": ({"num_rows": 1, "columns": ["agee"], "seed": 1}, 422, "columns"),
    "no columns": ({"num_rows": 1, "columns": []}, 422, "columns"),
    "a column twice": ({"num_rows": 1, "columns": ["age", "age"]}, 422, "columns"),
    "columns as text": ({"num_rows": 1, "columns": "age"}, 422, "columns"),
    "unknown column in a condition": ({"num_rows": 1, "where": "agee>3"}, 422, "where"),
    "unknown operator": ({"num_rows": 1, "where": "age~3"}, 422, "where"),
    "condition without value": ({"num_rows": 1, "where": "age>"}, 422, "where"),
    "unknown value": ({"num_rows": 1, "where": "plan=gold"}, 422, "where"),
    "impossible value": ({"num_rows": 1, "where": "age>500"}, 422, "where"),
    "text for a number": ({"num_rows": 1, "where": "age=old"}, 422, "where"),
    "object with another operator": (
        {"num_rows": 1, "where": {"column": "age", "op": "~", "value": 3}},
        422,
        "where",
    ),
    "object without a value": ({"num_rows": 1, "where": [{"age": None}]}, 422, "where"),
    "condition as a number": ({"num_rows": 1, "where": 3}, 422, "where"),
    "too many conditions": ({"num_rows": 1, "where": ["age>30"] * 17}, 422, "where"),
    "a long condition": ({"num_rows": 1, "where": "age>" + "3" * 600}, 422, "where.0"),
    "a list": ([], 422, "body"),
    "a number": (3, 422, "body"),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_wrong_input_names_its_field(client: httpx.Client, case: str):
    body, status, field = WRONG[case]
    answer = ask(client, body)
    error = answer.json()["error"]
    assert answer.status_code == status, answer.text
    assert error["param"] == field
    assert error["message"].startswith(f"{field}: ")
    assert "\n" not in error["message"]
    assert len(error["message"]) < 400


def test_limits_are_stated(client: httpx.Client):
    message = ask(client, {"num_rows": 10_000_001}).json()["error"]["message"]
    assert (
        message
        == "num_rows: at most 10,000,000 rows in one request, got 10,000,001; publish more with POST /v1/jobs"
    )


@pytest.mark.parametrize(
    ("content", "content_type", "status", "param"),
    [
        (b"{", "application/json", 400, "body"),
        (b"", "application/json", 422, "body"),
        (b"null", "application/json", 422, "body"),
        (b"\xff\xfe", "application/json", 400, None),
        (b"[" * 60_000, "application/json", 400, None),
        (b'{"num_rows": NaN}', "application/json", 422, "num_rows"),
        (b'{"num_rows": 1}', "text/plain", 415, "Content-Type"),
        (b'{"num_rows": 1}', "", 415, "Content-Type"),
        (b"num_rows=1", "application/x-www-form-urlencoded", 415, "Content-Type"),
        (b" " * 70_000, "application/json", 413, "body"),
    ],
)
def test_bodies_that_are_no_request(
    client: httpx.Client, content: bytes, content_type: str, status: int, param: str | None
):
    answer = client.post(
        ROWS, content=content, headers={"Content-Type": content_type} if content_type else {}
    )
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    if param:
        assert answer.json()["error"]["param"] == param


def test_a_body_of_unknown_length_is_counted_as_it_comes(client: httpx.Client):
    answer = client.post(
        ROWS, content=(b" " * 1000 for _ in range(100)), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/nobody/rows",
        "/v1/models/customers@99/rows",
        "/v1/models/other@2/rows",
        "/v1/models/..%2f..%2fetc%2fpasswd/rows",
        "/v1/models/%2e%2e/rows",
        "/v1/models/customers%00/rows",
        "/v1/models/customers%0a/rows",
        "/v1/models/customers@1%0a/rows",
        "/v1/models/customers/rows/",
        "/v1/models/file:%2f%2f%2fetc/rows",
        "/v1/models//rows",
        "/v1/models/CUSTOMERS/rows",
        "/v2/models",
    ],
)
def test_no_such_thing_is_404(client: httpx.Client, path: str):
    answer = ask(client, {"num_rows": 1}, path=path)
    assert answer.status_code in (404, 405), answer.text
    assert answer.json()["error"]["type"] in ("not_found", "method_not_allowed")


def test_a_second_accept_line_is_read_too(client: httpx.Client):
    answer = client.post(
        ROWS, json={"num_rows": 1}, headers=[("Accept", "text/html"), ("Accept", "text/csv")]
    )
    assert answer.headers["content-type"].startswith("text/csv")


def test_other_mistakes_have_their_own_status(client: httpx.Client):
    assert ask(client, {"num_rows": 1}, "text/html").status_code == 406
    assert client.get(ROWS).status_code == 405
    assert client.get(f"/v1/models/{'x' * 300}").status_code == 422


def test_answers_can_not_be_framed_sniffed_or_cached(client: httpx.Client):
    headers = client.get("/v1/models").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]


def test_without_keys_other_hosts_are_refused(client: httpx.Client):
    answer = client.get("/v1/models", headers={"Host": "evil.example"})
    assert answer.status_code == 403
    assert "loopback" in answer.json()["error"]["message"]
    assert client.get("/v1/models", headers={"Host": "localhost:8000"}).status_code == 200


@pytest.mark.parametrize("key", ["%E2%82%AC", "smk_1", ""])
def test_without_keys_any_form_leads_to_the_page(client: httpx.Client, key: str):
    answer = client.post(
        "/sign-in", content=f"key={key}", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "set-cookie" not in answer.headers


def test_metrics_tell_of_everything(client: httpx.Client):
    ask(client, {"num_rows": 7})
    ask(client, {"num_rows": 0})
    text = client.get("/metrics").text
    line = 'synthmill_requests_total{endpoint="/v1/models/{name}/rows",model="customers@2",status="200"}'
    assert line in text
    for name in (
        "rows_total",
        "model_seconds_total",
        "batch_rows_total",
        'rejections_total{reason="input"}',
        "replicas 1",
        "queued_rows 0",
    ):
        assert f"synthmill_{name}" in text


def test_health_and_readiness(client: httpx.Client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}


@contextmanager
def large(server: Running) -> Iterator[httpx.Response]:
    """The answer to a request that takes many seconds, its head received."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        asked = {"num_rows": 10**7, "seed": 1}
        with client.stream("POST", ROWS, json=asked, headers={"Accept": ARROW}) as answer:
            assert answer.status_code == 200
            yield answer


@pytest.fixture
def server(model_store: Path) -> Iterator[Running]:
    """A server of the test's own that answers one large request at a time."""
    with running(
        store=str(model_store), models="customers", insecure_local=True, limits={"max_streams": 1}
    ) as server:
        yield server


def test_a_busy_replica_says_when_to_come_back(server: Running):
    with large(server), httpx.Client(base_url=server.url, timeout=60) as client:
        answer = ask(client, {"num_rows": 10**6})
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["type"] == "overloaded"
        assert ask(client, {"num_rows": 10}).status_code == 200


def test_a_full_replica_refuses_and_can_still_be_looked_at(model_store: Path):
    settings = {"store": str(model_store), "models": "customers", "insecure_local": True}
    with (
        running(**settings, limits={"max_ongoing_requests": 1}) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        with large(server):
            answer = ask(client, {"num_rows": 1})
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["error"]["type"] == "overloaded"
            assert 'synthmill_rejections_total{reason="queue"} 1' in client.get("/metrics").text
        until(lambda: ask(client, {"num_rows": 1}).status_code == 200, seconds=20, what="room")


def test_a_client_that_goes_away_stops_the_work(server: Running):
    with large(server) as answer:
        # An iterator that nobody holds is closed at once, and the connection with it.
        pieces = answer.iter_raw()
        next(pieces)
        assert server.service.queue.streams == 1
    until(lambda: server.service.queue.streams == 0, seconds=20, what="the end of the work")
    with httpx.Client(base_url=server.url, timeout=60) as client:
        assert rows_made(client) < 10**6


def test_a_slow_client_holds_little_in_memory(server: Running):
    with large(server) as answer, httpx.Client(base_url=server.url, timeout=60) as client:
        reader = answer.iter_raw(65_536)
        assert sum(len(next(reader)) for _ in range(3)) < 10**7
        # Sockets hold a few megabytes; beyond that, and two pieces, nothing is computed ahead.
        assert settled(client) < 500_000


def rows_made(client: httpx.Client) -> float:
    """What the server counted so far."""
    lines = [
        line for line in client.get("/metrics").text.splitlines() if line.startswith("synthmill_rows_total")
    ]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def settled(client: httpx.Client) -> float:
    """Rows made when no more are being made."""
    made = [rows_made(client)]
    while len(made) < 8 or made[-8] != made[-1]:
        time.sleep(0.1)
        made.append(rows_made(client))
    return made[-1]
