"""An S3 server for tests: moto in a process of its own, or the server that SYNTHMILL_TEST_S3_ENDPOINT
names."""

import os
import subprocess
import sys
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
    command = [sys.executable, "-P", str(Path(__file__).with_name("moto_process.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            # It chooses the port itself and says so once it listens: one chosen here could be somebody else's
            # by then.
            port = process.stdout.readline().strip()
            assert port, "the S3 server ended at once"
            yield _with_bucket(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


def _with_bucket(endpoint: str) -> S3Server:
    server = S3Server(endpoint, f"synthmill-{uuid.uuid4().hex[:12]}")
    server.client().create_bucket(Bucket=server.bucket)
    return server
