"""An S3 server for tests: moto in a process of its own, or the server that SYNTHMILL_TEST_S3_ENDPOINT names."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3


@dataclass(frozen=True)
class S3Server:
    """Where the server is, an existing bucket, and the environment that reaches it."""

    endpoint: str
    bucket: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": os.environ.get("AWS_ACCESS_KEY_ID", "testing"),
            "AWS_SECRET_ACCESS_KEY": os.environ.get("AWS_SECRET_ACCESS_KEY", "testing"),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self):
        env = self.environment
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=env["AWS_DEFAULT_REGION"],
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        )

    def new_uri(self) -> str:
        """A prefix that nothing else uses."""
        return f"s3://{self.bucket}/{uuid.uuid4().hex}"


@contextmanager
def running_server() -> Iterator[S3Server]:
    """A running server with a bucket; ended by its own handle."""
    given = os.environ.get("SYNTHMILL_TEST_S3_ENDPOINT")
    if given:
        yield _with_bucket(given)
        return
    port = free_port()
    command = [sys.executable, "-P", str(Path(__file__).with_name("moto_process.py")), str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            endpoint = f"http://127.0.0.1:{port}"
            _wait_until_it_answers(process, endpoint)
            yield _with_bucket(endpoint)
        finally:
            process.terminate()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_answers(process: subprocess.Popen, endpoint: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the S3 server ended at once"
        try:
            opener.open(f"{endpoint}/moto-api/", timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the S3 server does not answer")


def _with_bucket(endpoint: str) -> S3Server:
    server = S3Server(endpoint, f"synthmill-{uuid.uuid4().hex[:12]}")
    server.client().create_bucket(Bucket=server.bucket)
    return server
