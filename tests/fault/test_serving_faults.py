"""Killed replicas, state actors and proxies under load: every request is answered or refused cleanly, and
what was cut can be told."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet
import pytest

from processes import kill, titled, until
from served import publish_customers
from served_process import STATE, Load, Server, connect, serving
from synthmill.catalog.store import Store
from synthmill.config import StorageConfig
from synthmill.generation.generator import Generator
from synthmill.serving.auth import KeyFile, create_key
from synthmill.serving.quota import Quota

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

ROWS = "/v1/models/customers/rows"
ARROW = "application/vnd.apache.arrow.stream"
CLEAN = {"200", "429", "503"}
"""Every request is answered or refused; none is cut, and none hangs."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    publish_customers(Store(folder), "customers")
    return folder


@pytest.fixture(scope="module")
def keys(store: Path) -> tuple[str, str]:
    """A key that may do everything, and one with a quota that is never used up."""
    file = KeyFile(str(store), "serve-keys.json", StorageConfig())
    made = []
    for quota in (Quota(), Quota(rows_per_day=10**9)):
        scopes = ("generate", "jobs", "metrics")
        made.append(
            create_key(
                file, name="test", scopes=scopes, models=None, days=None, quota=quota, now=datetime.now(UTC)
            )[0]
        )
    return made[0], made[1]


@pytest.fixture(scope="module")
def pair(store: Path, keys: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two replicas, each on half a CPU."""
    log = tmp_path_factory.mktemp("pair") / "log"
    with serving(store, log, "--min-replicas=2", "--max-replicas=2", "--set", "num_cpus=0.5") as server:
        yield server


@pytest.fixture
def server(pair: Server, keys: tuple[str, str]) -> Server:
    """The pair, whole again after the test before."""
    until(lambda: len(pair.replicas) == 2 and len(pair.haproxy) == 1, what="two replicas and a proxy")
    until(lambda: pair.metric("synthmill_replicas", keys[0]) == 2, what="both replicas' reports")
    until(lambda: pair.metric("synthmill_streams", keys[0]) == 0, what="the end of earlier streams")
    return pair


def test_a_killed_replica_leaves_every_request_answered_or_cleanly_refused(
    server: Server, keys: tuple[str, str]
) -> None:
    with Load(server, {"num_rows": 20}, key=keys[0], threads=12) as load:
        load.answered(200)
        victim = server.replicas[0]
        kill(victim)
        load.answered(200)
        until(lambda: len(server.replicas) == 2 and victim not in server.replicas, what="another replica")
        load.answered(200)
    assert load.bad == []
    assert set(load.statuses) <= CLEAN, load.statuses


def test_all_replicas_killed_leaves_no_request_hanging(server: Server, keys: tuple[str, str]) -> None:
    with Load(server, {"num_rows": 20}, key=keys[0], threads=6) as load:
        load.answered(50)
        victims = set(server.replicas)
        for victim in victims:
            kill(victim)
        # Until there are others, requests wait in the proxy or are refused: which, depends on how soon they
        # come.
        until(
            lambda: len(server.replicas) == 2 and not victims & set(server.replicas),
            what="two other replicas",
        )
        load.answered(50)
    assert load.bad == []
    assert set(load.statuses) <= CLEAN, load.statuses


@pytest.mark.parametrize(
    "accept",
    [ARROW, "application/x-ndjson", "application/json", "text/csv", "application/vnd.apache.parquet"],
)
def test_a_stream_that_was_cut_can_be_told(server: Server, keys: tuple[str, str], accept: str) -> None:
    data = bytearray()
    # In HTTP's own terms the message is incomplete, whatever the format.
    with server.client(keys[0]) as client, pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
        read_and_kill(server, client, accept, data)
    if accept == ARROW:
        # Readers take the end of the bytes between two batches for the end of the stream: the marker is what
        # tells.
        assert not data.endswith(b"\xff\xff\xff\xff\0\0\0\0")
    if accept == "application/x-ndjson":
        assert "synthmill.end" not in data.decode(errors="replace").splitlines()[-1]
    if accept == "application/json":
        with pytest.raises(json.JSONDecodeError):
            json.loads(bytes(data))


def read_and_kill(server: Server, client: httpx.Client, accept: str, data: bytearray) -> None:
    """Read a large answer into `data`; after its first piece all replicas are killed."""
    with client.stream(
        "POST", ROWS, json={"num_rows": 10**7, "seed": 1}, headers={"Accept": accept}
    ) as answer:
        assert answer.status_code == 200
        for piece in answer.iter_raw():
            if not data:
                for victim in server.replicas:
                    kill(victim)
            data += piece


def test_a_killed_proxy_closes_its_connections_at_once_and_comes_back(
    server: Server, keys: tuple[str, str]
) -> None:
    head = (
        f"POST {ROWS} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {keys[0]}\r\nAccept: {ARROW}\r\n"
    )
    body = '{"num_rows": 10000000, "seed": 1}'
    wire = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    idle = connect(server, f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n".encode())
    with connect(server, wire) as busy, idle:
        assert busy.recv(1 << 16).startswith(b"HTTP/1.1 200")
        until(lambda: server.metric("synthmill_streams", keys[0]) == 1, what="the stream in the metrics")
        for pid in server.haproxy:
            kill(pid)
        for connection in (busy, idle):
            connection.settimeout(20)
            assert drained(connection)
    until(lambda: answers(server, keys[0]), what="the proxy's return")
    until(lambda: server.metric("synthmill_streams", keys[0]) == 0, what="the end of the abandoned work")


def drained(connection: object) -> bool:
    """Whether the other end is closed, after what was under way."""
    try:
        while connection.recv(1 << 20):
            pass
    except ConnectionResetError:
        pass
    return True


def answers(server: Server, key: str) -> bool:
    try:
        with server.client(key) as client:
            return client.post(ROWS, json={"num_rows": 3}).status_code == 200
    except httpx.TransportError:
        return False


def test_a_killed_state_actor_stops_nobody_without_a_quota_and_comes_back(
    server: Server, keys: tuple[str, str]
) -> None:
    free, limited = keys
    with (
        Load(server, {"num_rows": 5}, key=free, threads=3) as load,
        Load(server, {"num_rows": 5}, key=limited, threads=3) as metered,
    ):
        load.answered(30)
        metered.answered(30)
        [state] = titled(server.process.pid, STATE)
        kill(state)
        load.answered(100)
        metered.answered(100)
    assert load.bad == metered.bad == []
    assert set(load.statuses) == {"200"}
    assert set(metered.statuses) <= CLEAN, metered.statuses


def test_a_job_outlives_its_state_actor(server: Server, keys: tuple[str, str], store: Path) -> None:
    with server.client(keys[0]) as client:
        asked = {"model": "customers", "rows": 400_000, "dataset": "outlives", "seed": 2}
        path = f"/v1/jobs/{client.post('/v1/jobs', json=asked).json()['id']}"
        until(lambda: list(store.glob("datasets/outlives/1/*.parquet")), what="a part")
        [state] = titled(server.process.pid, STATE)
        kill(state)
        assert not (store / "datasets/outlives/1/_manifest.json").exists(), (
            "the job ended before its state actor did"
        )

        def told() -> dict[str, object] | None:
            answer = client.get(path)
            return (
                answer.json()
                if answer.status_code == 200 and answer.json()["status"] in ("done", "failed")
                else None
            )

        result = until(told, seconds=240, what="the end of the job")
    assert result["status"] == "done", result
    parts = sorted(store.glob("datasets/outlives/1/*.parquet"))
    rows = pa.concat_tables([pa.parquet.read_table(part) for part in parts]).replace_schema_metadata(None)
    expected = Generator.load(Store(store).resolve("models", "customers", field="model")).sample(
        400_000, seed=2
    )
    assert rows.combine_chunks().equals(expected.combine_chunks())


def test_replicas_follow_the_load_up_and_down(store: Path, keys: tuple[str, str], tmp_path: Path) -> None:
    quick = [
        f"scaling.{name}"
        for name in ("target_queued_rows=2000", "downscale_delay_s=3", "look_back_s=2", "report_s=0.5")
    ]
    words = [word for item in ["num_cpus=0.3", *quick] for word in ("--set", item)]
    with serving(store, tmp_path / "log", "--max-replicas=3", *words) as server:
        assert len(server.replicas) == 1
        with Load(server, {"num_rows": 4000}, key=keys[0], threads=8) as load:
            until(lambda: len(server.replicas) == 3, what="three replicas")
            until(lambda: server.metric("synthmill_replicas", keys[0]) == 3, what="all three at work")
            load.answered(50)
        # Without a pause one thread keeps 0.8 of a processor busy on an idle machine: rightly two replicas.
        with Load(server, {"num_rows": 1}, key=keys[0], threads=1, pause=0.1) as trickle:
            until(lambda: len(server.replicas) == 1, what="one replica again")
            trickle.answered(20)
    for asked in (load, trickle):
        assert asked.bad == []
        assert set(asked.statuses) == {"200"}, asked.statuses
