"""`synthmill serve` in HAProxy mode with keys: what the in-process tests of the interface can't show."""

import base64
import io
import json
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pytest
from PIL import Image

from processes import titled, until
from served import publish_customers, publish_images
from served_process import Load, Server, connect, listening, port_of, resident_mib, serving
from synthmill.catalog.store import Store
from synthmill.config import StorageConfig
from synthmill.serving.auth import KeyFile, create_key, revoke_key
from synthmill.serving.quota import Quota

ROWS = "/v1/models/customers/rows"
ARROW = "application/vnd.apache.arrow.stream"
pytestmark = pytest.mark.timeout(600)


@dataclass
class Served:
    """The server, its store, and keys: one that may do everything, one with a quota."""

    server: Server
    store: Path
    keys: KeyFile
    key: str
    small: str


def make(keys: KeyFile, *scopes: str, quota: Quota | None = None) -> str:
    return create_key(
        keys,
        name="test",
        scopes=scopes,
        models=None,
        days=None,
        quota=quota or Quota(),
        now=datetime.now(UTC),
    )[0]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two replicas of half a CPU, `customers` (newest), `other@1` (pinned) and images."""
    folder = tmp_path_factory.mktemp("served")
    store = Store(folder / "store")
    publish_customers(store, "customers", seed=1)
    publish_customers(store, "other", seed=2)
    publish_images(store, "digits")
    keys = KeyFile(str(folder / "store"), "serve-keys.json", StorageConfig())
    key = make(keys, "generate", "jobs", "metrics")
    small = make(keys, "generate", quota=Quota(rows_per_day=200))
    settings = ("--min-replicas=2", "--max-replicas=2", "--set", "num_cpus=0.5", "--set", "refresh_seconds=1")
    with serving(folder / "store", folder / "log", *settings, models="customers,other@1,digits") as server:
        until(lambda: server.metric("synthmill_replicas", key) == 2, what="two replicas")
        yield Served(server, folder / "store", keys, key, small)


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with served.server.client(served.key) as client:
        yield client


def ended(client: httpx.Client, path: str) -> dict[str, Any]:
    """What the server tells of a job that is done or has failed."""

    def job() -> dict[str, Any] | None:
        answer = client.get(path).json()
        return answer if answer.get("status") in ("done", "failed") else None

    return until(job, seconds=200, what="the end of the job")


def test_a_job_publishes_the_rows_that_the_server_answers_with(served: Served, client: httpx.Client):
    asked = {"model": "customers", "rows": 3000, "dataset": "copy", "seed": 11, "where": ["plan=pro"]}
    started = client.post("/v1/jobs", json=asked)
    assert started.status_code == 202, started.text
    where = started.headers["location"]
    job = ended(client, where)
    assert job["status"] == "done", json.dumps(job, indent=1)
    assert job["result"]["dataset"] == "copy@1"
    dataset = pa.dataset.dataset(served.store / "datasets/copy/1", exclude_invalid_files=False).to_table()
    answer = client.post(
        ROWS, json={"num_rows": 3000, "seed": 11, "where": ["plan=pro"]}, headers={"Accept": ARROW}
    )
    rows = pa.ipc.open_stream(answer.content).read_all()
    assert rows.replace_schema_metadata(None).equals(
        dataset.replace_schema_metadata(None).combine_chunks().cast(rows.schema)
    )
    assert client.delete(where).json()["status"] == "done"


def test_a_job_of_images_publishes_the_images_that_the_server_answers_with(
    served: Served, client: httpx.Client
):
    started = client.post(
        "/v1/jobs", json={"model": "digits", "rows": 40, "dataset": "images", "seed": 3}
    ).json()
    path = f"/v1/jobs/{started['id']}"
    job = ended(client, path)
    assert job["status"] == "done", json.dumps(job, indent=1)
    published = (
        pa.dataset.dataset(served.store / "datasets/images/1", exclude_invalid_files=False)
        .to_table()["image"]
        .to_pylist()
    )
    answer = client.post("/v1/images/generations", json={"model": "digits", "n": 40, "seed": 3}).json()
    assert [base64.b64decode(item["b64_json"]) for item in answer["data"]] == [
        image["bytes"] for image in published
    ]


def test_a_job_can_be_cancelled(served: Served, client: httpx.Client):
    started = client.post("/v1/jobs", json={"model": "customers", "rows": 10**9, "dataset": "never"}).json()
    path = f"/v1/jobs/{started['id']}"
    until(lambda: client.get(path).json().get("status") == "running", what="a running job")
    assert client.delete(path).json()["status"] == "cancelled"
    assert client.get(path).json()["status"] == "cancelled"
    # A job that is done tells its result before its process has ended; the jobs of other tests may be ending
    # still.
    until(
        lambda: served.server.metric("synthmill_jobs", served.key) == 0, what="the end of every job's process"
    )
    assert not list((served.store / "datasets").glob("never/*/_manifest.json"))


def test_a_large_answer_streams_with_flat_memory(served: Served, client: httpx.Client):
    client.post(ROWS, json={"num_rows": 200_000}, headers={"Accept": ARROW})
    before = max(resident_mib(pid) for pid in served.server.replicas)
    most, rows, size = before, 0, 0
    with client.stream(
        "POST", ROWS, json={"num_rows": 2_000_000}, headers={"Accept": "application/x-ndjson"}
    ) as answer:
        last = b""
        for piece in answer.iter_raw(1 << 20):
            size, last = size + len(piece), (last + piece)[-500:]
            rows += piece.count(b"\n")
            most = max(most, *(resident_mib(pid) for pid in served.server.replicas))
    assert json.loads(last.splitlines()[-1])["synthmill.end"]["num_rows"] == rows - 1 == 2_000_000
    assert size > 200 * 2**20
    assert most - before < 60, f"{before:.0f} MiB before, {most:.0f} MiB at most"


def leave(connection: socket.socket, how: str) -> None:
    """Go in the middle of an answer: with a reset, or after saying that nothing more will be sent."""
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif how == "half-closed":
        connection.shutdown(socket.SHUT_WR)
    connection.close()


@pytest.mark.parametrize("how", ["closed", "reset", "half-closed"])
def test_a_client_that_leaves_frees_the_replica(served: Served, how: str):
    def metric(name: str) -> float:
        return served.server.metric(name, served.key)

    body = json.dumps({"num_rows": 10**7, "seed": 1})
    head = (
        f"POST {ROWS} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {served.key}\r\nAccept:"
        f" {ARROW}\r\n"
    )
    wire = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    before = metric("synthmill_rows_total")
    reading, waiting = connect(served.server, wire), connect(served.server, wire)
    assert reading.recv(1 << 16).startswith(b"HTTP/1.1 200")
    until(lambda: metric("synthmill_streams") == 2, what="both streams in the metrics")
    # One more leaves before its first byte.
    leave(connect(served.server, wire), how)
    leave(reading, how)
    leave(waiting, how)
    until(lambda: metric("synthmill_streams") == 0, what="the end of the work")
    assert metric("synthmill_rows_total") - before < 10**7, "the streams ended by themselves"


def test_quotas_hold_for_all_replicas_together(served: Served):
    with Load(served.server, {"num_rows": 1}, key=served.small, threads=12) as load:
        until(lambda: load.statuses["429"] > 300, what="refusals")
    assert load.bad == []
    assert 180 <= load.statuses["200"] <= 200
    refused = 'synthmill_rejections_total{reason="quota"}'
    until(
        lambda: served.server.metric(refused, served.key) == load.statuses["429"],
        what="the count of refusals",
    )


def test_a_new_version_is_picked_up_without_dropping_a_request(served: Served):
    with (
        Load(served.server, {"num_rows": 5}, key=served.key) as load,
        Load(
            served.server, {"num_rows": 5}, key=served.key, path="/v1/models/other/rows", threads=2
        ) as pinned,
    ):
        load.answered(50)
        publish_customers(Store(served.store), "customers", seed=7)
        publish_customers(Store(served.store), "other", seed=8)

        def only_new() -> bool:
            """Replicas look at the store at their own times; when all have, the old version answers no
            more."""
            old = load.refs["customers@1"]
            load.answered(100)
            return load.refs["customers@1"] == old and load.refs["customers@2"] > 0

        until(only_new, what="the new version from every replica")
        pinned.answered(20)
    assert load.bad == pinned.bad == []
    assert set(load.statuses) == set(pinned.statuses) == {"200"}
    assert set(pinned.refs) == {"other@1"}


def test_new_keys_are_taken_up_and_revoked_ones_refused(served: Served):
    key = make(served.keys, "generate")
    with served.server.client(key) as client:

        def recent() -> set[int]:
            """Statuses of enough requests to meet both replicas."""
            return {client.get("/v1/models").status_code for _ in range(20)}

        until(lambda: recent() == {200}, seconds=60, what="the new key at every replica")
        revoke_key(served.keys, key.split("_")[1])
        until(lambda: recent() == {401}, seconds=60, what="the end of the revoked key")


def test_only_the_front_port_could_be_reached_from_elsewhere(served: Served):
    loopback = "0100007F"
    ports = listening(served.server.process.pid)
    assert ports[port_of(served.server)] == {loopback}
    for port in (
        port
        for port in ports
        if 8404 <= port < 8504 or 9101 <= port < 9201 or 30_000 <= port < 31_000 or 8500 <= port < 8600
    ):
        assert ports[port] == {loopback}, port
    assert sum(30_000 <= port < 31_000 for port in ports) >= 2


def test_keys_are_in_no_log_and_no_command_line(served: Served, client: httpx.Client):
    client.post(ROWS, json={"num_rows": 1})
    client.post(ROWS, json={"num_rows": 0})
    client.get("/nothing")
    secret = served.key.split("_", 2)[2]
    logs = [served.server.log, *(path for path in served.server.session_logs.rglob("*") if path.is_file())]
    assert len(logs) > 5
    assert not [path for path in logs if secret.encode() in path.read_bytes()]
    assert titled(served.server.process.pid, "ray::")
    assert not titled(served.server.process.pid, secret)


def test_images_are_images(client: httpx.Client):
    answer = client.post("/v1/images/generations", json={"model": "digits", "n": 2}).json()
    pixels = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(item["b64_json"])))) for item in answer["data"]
    ]
    assert not np.array_equal(*pixels)
