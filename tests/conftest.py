"""Fixtures that every layer's tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from s3 import S3Server, running_server

# The same examples in every run: a test that fails now and then is a bug nobody can find.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# One thread in every process of the tests, Ray's workers among them: what runs beside them must not decide
# how long they take.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Ray's workers run at nice 15 otherwise, and starve beside anything else that a machine does.
os.environ.setdefault("RAY_worker_niceness", "0")


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server of this test session with a bucket. Its `environment` must be set where it is used;
    `s3_store` does it."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(s3: S3Server) -> str:
    """The endpoint of that server."""
    return s3.endpoint


@pytest.fixture
def s3_store(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """URI of an empty store on the S3 server, which the environment points at."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3.new_uri()


@pytest.fixture(params=["file", "s3"])
def every_store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URI of an empty store, once for each scheme."""
    if request.param == "file":
        return (tmp_path / "store").as_uri()
    uri: str = request.getfixturevalue("s3_store")
    return uri
