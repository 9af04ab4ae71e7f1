"""One store and one server for the tests of the interface; tests that change something make their own."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from http_app import Running, running
from served import publish_customers
from synthmill.catalog.store import Store


@pytest.fixture(scope="session")
def model_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with `customers@1`, `customers@2` and `other@1`."""
    folder = tmp_path_factory.mktemp("models")
    store = Store(folder)
    for name, seed in (("customers", 1), ("customers", 2), ("other", 3)):
        publish_customers(store, name, seed=seed)
    return folder


@pytest.fixture(scope="session")
def local_server(model_store: Path) -> Iterator[Running]:
    """A server without keys."""
    with running(store=str(model_store), models="customers,other@1", insecure_local=True) as server:
        yield server


@pytest.fixture
def client(local_server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=local_server.url, timeout=60) as client:
        yield client
