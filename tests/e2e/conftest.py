"""A real `ray start --head` that asks for a token, on loopback, ended by its own handle."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from processes import ROOT, descendants, kill, until
from s3 import S3Server

RAY = str(Path(sys.executable).parent / "ray")


@dataclass(frozen=True)
class Head:
    """Where the cluster is, and the environment that may talk to it."""

    address: str
    env: dict[str, str]

    def submit(self, *entrypoint: str, working_dir: Path = ROOT) -> "subprocess.CompletedProcess[str]":
        """`ray job submit --working-dir . -- ENTRYPOINT` from a clone."""
        return subprocess.run(
            [RAY, "job", "submit", "--address", self.address, "--working-dir", ".", "--", *entrypoint],
            cwd=working_dir,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=400,
        )


def free_port(low: int) -> int:
    """A free port at or above `low`, outside the range that Ray gives to workers."""
    for port in range(low, low + 500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("no free port")


@pytest.fixture(scope="session")
def head(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """Four CPUs, token auth, and S3 at the test server for everything that runs on it."""
    with tempfile.TemporaryDirectory(prefix="head-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield from _started(s3, tmp_path_factory.mktemp("head") / "ray.log", folder)


def _started(s3: S3Server, log: Path, folder: str) -> Iterator[Head]:
    dashboard, gcs, agent, client = free_port(28265), free_port(26379), free_port(22365), free_port(23001)
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "RAY_ADDRESS")}
    env |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        # A job joins the newest Ray of the folder, which for Ray's own, /tmp/ray, may be anybody's of this
        # machine. The path is short: sockets below it may have 107 characters.
        "RAY_TMPDIR": folder,
        **s3.environment,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    options = [
        "--head",
        "--block",
        "--num-cpus=4",
        f"--port={gcs}",
        f"--dashboard-port={dashboard}",
        "--dashboard-host=127.0.0.1",
    ]
    options += [f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [RAY, "start", *options], env=env, stdout=out, stderr=out, start_new_session=True, cwd=log.parent
        )
    address = f"http://127.0.0.1:{dashboard}"
    try:
        until(
            lambda: process.poll() is not None or _answers(f"{address}/api/version", env["RAY_AUTH_TOKEN"]),
            seconds=90,
            what="the dashboard",
        )
        assert process.poll() is None, log.read_text()
        started = Head(address, env)
        until(
            lambda: started.submit("true", working_dir=log.parent).returncode == 0,
            seconds=90,
            what="a node that takes jobs",
        )
        yield started
    finally:
        below = descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
        for pid in below:
            try:
                kill(pid)
            except ProcessLookupError:
                continue


def _answers(url: str, token: str) -> bool:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"}), timeout=5
        ) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
