"""Keys over HTTP: nothing is served without one."""

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from http_app import Running, running
from processes import until
from synthmill.config import StorageConfig
from synthmill.serving import service, sign_in
from synthmill.serving.auth import KeyFile, create_key, revoke_key
from synthmill.serving.quota import Quota

ROWS = "/v1/models/customers/rows"
ANYTHING = (
    "/",
    "/docs",
    "/openapi.json",
    "/metrics",
    "/v1/models",
    "/v1/models/customers",
    "/v1/jobs/job-1",
    "/page/app.js",
    "/nothing",
    "/healthz/../v1/models",
)


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(str(tmp_path), "keys.json", StorageConfig())


def make(file: KeyFile, **changed) -> str:
    options = {
        "scopes": ("generate",),
        "models": None,
        "days": None,
        "quota": Quota(),
        "now": datetime.now(UTC),
    }
    return create_key(file, name="test", **{**options, **changed})[0]


@pytest.fixture
def server(model_store: Path, keys: KeyFile, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """Reads its keys again when a test says so, and not before."""
    monkeypatch.setattr(service, "KEYS_SECONDS", 3600.0)
    with running(store=str(model_store), models="customers,other@1", keys=keys.uri) as server:
        yield server


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def reread(server: Running) -> None:
    server.call(server.service._reread_keys())


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_nothing_is_served_without_a_key(client: httpx.Client):
    for path in ANYTHING:
        answer = client.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["error"]["param"] == "Authorization"
    assert client.post(ROWS, json={"num_rows": 1}).status_code == 401
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_wrong_and_expired_keys_are_told_apart(server: Running, client: httpx.Client, keys: KeyFile):
    expired = make(keys, days=1, now=datetime.now(UTC) - timedelta(days=2))
    good = make(keys)
    reread(server)
    for token, reason in (
        (expired, "expired at"),
        (good[:-1] + ("a" if good[-1] != "a" else "b"), "no such key"),
        ("x", "no such key"),
    ):
        answer = client.get("/v1/models", headers=bearer(token))
        assert answer.status_code == 401
        assert reason in answer.json()["error"]["message"]
    assert client.get("/v1/models", headers=bearer(good)).status_code == 200
    assert client.get("/v1/models", headers={"X-API-Key": good}).status_code == 200
    assert client.get("/v1/models", headers={"Authorization": f"Basic {good}"}).status_code == 401


def test_new_and_revoked_keys_are_taken_up(server: Running, client: httpx.Client, keys: KeyFile):
    token = make(keys)
    assert client.get("/v1/models", headers=bearer(token)).status_code == 401
    reread(server)
    assert client.get("/v1/models", headers=bearer(token)).status_code == 200
    revoke_key(keys, token.split("_")[1])
    reread(server)
    assert client.get("/v1/models", headers=bearer(token)).status_code == 401


def test_a_document_that_breaks_locks_nobody_out(
    server: Running, client: httpx.Client, keys: KeyFile, tmp_path: Path
):
    token = make(keys)
    reread(server)
    (tmp_path / "keys.json").write_text("{")
    with pytest.raises(Exception, match=r"keys\.json"):
        reread(server)
    assert client.get("/v1/models", headers=bearer(token)).status_code == 200


def test_scopes_and_models(server: Running, client: httpx.Client, keys: KeyFile):
    rows_only = make(keys, models=("customers",))
    metrics_only = make(keys, scopes=("metrics",))
    reread(server)
    assert client.post(ROWS, json={"num_rows": 1}, headers=bearer(rows_only)).status_code == 200
    refused = client.post("/v1/models/other/rows", json={"num_rows": 1}, headers=bearer(rows_only))
    assert refused.status_code == 403
    assert "may not use 'other'" in refused.json()["error"]["message"]
    assert [model["id"] for model in client.get("/v1/models", headers=bearer(rows_only)).json()["data"]] == [
        "customers"
    ]
    job = {"model": "customers", "rows": 5, "dataset": "d"}
    for path, body in (("/v1/jobs", job),):
        answer = client.post(path, json=body, headers=bearer(rows_only))
        assert answer.status_code == 403
        assert "no scope 'jobs'" in answer.json()["error"]["message"]
    assert client.get("/metrics", headers=bearer(rows_only)).status_code == 403
    assert client.get("/metrics", headers=bearer(metrics_only)).status_code == 200
    assert client.post(ROWS, json={"num_rows": 1}, headers=bearer(metrics_only)).status_code == 403


def test_a_key_hears_only_of_models_that_it_may_use(server: Running, client: httpx.Client, keys: KeyFile):
    token = make(keys, scopes=("generate", "jobs"), models=("customers",))
    reread(server)
    for path, body in (
        ("/v1/models/othr/rows", {"num_rows": 1}),
        ("/v1/jobs", {"model": "othr", "rows": 1, "dataset": "d"}),
        ("/v1/images/generations", {"model": "othr"}),
    ):
        answer = client.post(path, json=body, headers=bearer(token))
        assert answer.status_code == 404
        assert answer.json()["error"]["message"] == "model: no model named 'othr'; there is: customers"


def test_quotas_answer_429_with_a_time(server: Running, client: httpx.Client, keys: KeyFile):
    token = make(keys, quota=Quota(requests_per_minute=5, rows_per_minute=1000))
    reread(server)
    answers = [client.post(ROWS, json={"num_rows": 10}, headers=bearer(token)) for _ in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert answers[-1].json()["error"]["type"] == "quota_exceeded"
    assert "requests_per_minute of 5" in answers[-1].json()["error"]["message"]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 61
    many = client.post(ROWS, json={"num_rows": 1001}, headers=bearer(token))
    assert many.status_code == 422
    assert "rows_per_minute of 1,000" in many.json()["error"]["message"]


def test_a_busy_answer_uses_no_rows_of_a_quota(model_store: Path, keys: KeyFile):
    free, small = make(keys), make(keys, quota=Quota(rows_per_day=10**7, rows_per_minute=10**7))
    with (
        running(
            store=str(model_store), models="customers", keys=keys.uri, limits={"max_streams": 1}
        ) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
        client.stream("POST", ROWS, json={"num_rows": 10**7, "seed": 1}, headers=bearer(free)),
    ):
        many = {"num_rows": 10**7, "seed": 1}
        answers = [
            client.post(ROWS, json=many, headers=bearer(small)).json()["error"]["type"] for _ in range(3)
        ]
        wrong = client.post(ROWS, json={"num_rows": 10**7, "where": "plan=gold"}, headers=bearer(small))
        last = client.post(ROWS, json=many, headers=bearer(small)).json()["error"]["type"]
    assert answers == ["overloaded"] * 3
    assert wrong.status_code == 422
    assert last == "overloaded"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (ROWS, {"num_rows": 5}, "num_rows"),
        ("/v1/jobs", {"model": "customers", "rows": 5, "dataset": "d"}, "rows"),
    ],
)
def test_more_rows_than_a_quota_names_the_field_that_asked(
    server: Running, client: httpx.Client, keys: KeyFile, path: str, body: dict[str, object], field: str
):
    token = make(keys, scopes=("generate", "jobs"), quota=Quota(rows_per_minute=3))
    reread(server)
    error = client.post(path, json=body, headers=bearer(token)).json()["error"]
    assert error["param"] == field
    assert error["message"] == f"{field}: 5 rows are more than this key's rows_per_minute of 3"


def test_a_browser_signs_in_with_a_form_and_keeps_a_cookie_scripts_can_not_read(
    server: Running, client: httpx.Client, keys: KeyFile
):
    token = make(keys)
    reread(server)
    page = client.get("/", headers={"Accept": "text/html"})
    assert page.status_code == 401
    assert 'action="/sign-in"' in page.text
    wrong = client.post("/sign-in", data={"key": "<script>"})
    assert wrong.status_code == 401
    assert "no such key" in wrong.text
    assert "<script>" not in wrong.text
    right = client.post("/sign-in", data={"key": token})
    assert right.status_code == 303
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/").status_code == 200
    assert client.post(ROWS, json={"num_rows": 1}).status_code == 200
    assert client.post("/sign-out").status_code == 303
    assert client.get("/v1/models").status_code == 401


@pytest.mark.parametrize(
    "other", ['prefs={"theme":"dark"}', "a=x y", "_xsrf=2|ab|cd|17", "na[me]=1", "=", '"']
)
def test_cookies_of_other_applications_do_not_hide_the_key(
    server: Running, client: httpx.Client, keys: KeyFile, other: str
):
    token = make(keys)
    reread(server)
    for cookies in (f"{other}; synthmill_key={token}", f"synthmill_key={token}; {other}"):
        assert client.get("/v1/models", headers={"Cookie": cookies}).status_code == 200


@contextmanager
def half_sent_form(server: Running) -> Iterator[socket.socket]:
    """A connection that has sent the head of a sign-in, and will never send its body."""
    url = httpx.URL(server.url)
    head = f"POST /sign-in HTTP/1.1\r\nHost: {url.host}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n"
    with socket.create_connection((url.host, url.port), timeout=60) as connection:
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 "), "the server waits for the body"
        yield connection


def test_who_has_no_key_takes_no_place_from_who_has_one(model_store: Path, keys: KeyFile):
    token = make(keys)
    with running(
        store=str(model_store), models="customers", keys=keys.uri, limits={"max_ongoing_requests": 1}
    ) as server:
        with half_sent_form(server), httpx.Client(base_url=server.url, timeout=60) as client:
            assert client.post("/sign-in", data={"key": token}).status_code == 303
            assert client.post(ROWS, json={"num_rows": 1}).status_code == 200


def test_a_form_that_never_comes_is_not_waited_for(server: Running, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sign_in, "BODY_SECONDS", 0.05)
    with half_sent_form(server) as connection:
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"the form did not arrive" in answer


@pytest.mark.parametrize("content", ["a=1&b=2&c=3&d=4&e=5", "key=%E2%82%AC", "key=%ff", "&&&&&&", "key", ""])
def test_no_form_breaks_the_server(server: Running, client: httpx.Client, content: str):
    answer = client.post(
        "/sign-in", content=content, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code in (400, 401)
    assert 'role="alert"' in answer.text


def test_a_client_that_leaves_its_form_half_sent_is_no_fault(
    server: Running, client: httpx.Client, keys: KeyFile, caplog: pytest.LogCaptureFixture
):
    token = make(keys, scopes=("metrics",))
    reread(server)
    with half_sent_form(server):
        pass
    until(
        lambda: 'requests_total{endpoint="/sign-in"' in client.get("/metrics", headers=bearer(token)).text,
        seconds=20,
    )
    assert 'status="500"' not in client.get("/metrics", headers=bearer(token)).text
    assert caplog.text == ""


def test_other_sites_can_not_use_the_cookie(server: Running, client: httpx.Client, keys: KeyFile):
    token = make(keys, scopes=("generate", "jobs"))
    reread(server)
    client.post("/sign-in", data={"key": token})
    body = json.dumps({"model": "customers", "rows": 5, "dataset": "d"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert client.post("/v1/jobs", content=body, headers={"Content-Type": kind}).status_code == 415


def test_keys_never_reach_logs_or_metrics(
    server: Running, client: httpx.Client, keys: KeyFile, caplog: pytest.LogCaptureFixture
):
    token = make(keys, scopes=("generate", "metrics"))
    reread(server)
    with caplog.at_level(logging.DEBUG):
        client.post(ROWS, json={"num_rows": 1}, headers=bearer(token))
        client.post(ROWS, json={"num_rows": 0}, headers=bearer(token))
        client.get("/v1/models", headers=bearer(token[:-3] + "xyz"))
        text = client.get("/metrics", headers=bearer(token)).text
    secret = token.split("_", 2)[2][:20]
    assert secret not in text
    assert secret not in caplog.text
