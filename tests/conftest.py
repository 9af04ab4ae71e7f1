"""Fixtures that every layer's tests share."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


# Where tests start Ray: in this process, or in the commands and servers that they run. No other test can.
USES_RAY = (
    "tests/e2e/",
    "tests/fault/",
    "tests/integration/",
    "tests/test_packaging.py",
    "tests/test_screenshots.py",
)
NO_RAY = "/dev/null/a-test-that-starts-ray-belongs-in-what-USES_RAY-of-tests-conftest-lists"
RAY_FOLDER = os.environ.get("RAY_TMPDIR")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """How the processes of `make test` (pytest-xdist) share the tests: each takes one file at a time, whose
    fixtures are then made once, or a folder that shares a cluster.

    `--dist loadgroup` would need a mark for each, and xdist 3.8 does not find them under pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file.rpartition("/")[0] if nodeid.startswith(USES_RAY) else file

    return ByFile(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest shares are handed out first. One process that has all tests keeps their order."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(USES_RAY))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Ray can't start where it is not expected: its folder can't be made, and the error shows the reason."""
    if not item.nodeid.startswith(USES_RAY):
        os.environ["RAY_TMPDIR"] = NO_RAY
    elif RAY_FOLDER is None:
        os.environ.pop("RAY_TMPDIR", None)
    else:
        os.environ["RAY_TMPDIR"] = RAY_FOLDER


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
