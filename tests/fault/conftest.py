"""A trained model to publish from, made once by the real command."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from customers import write_customers
from jobs import last_line
from processes import start_job


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_customers(tmp_path_factory.mktemp("source") / "customers.csv", rows=1200)


@pytest.fixture(scope="session")
def model_store(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with `customers@1` in it; tests copy it before they write."""
    store = tmp_path_factory.mktemp("store")
    job = start_job("train", *train_arguments(source, store))
    output, errors = job.communicate(timeout=240)
    assert job.returncode == 0, errors
    assert last_line(output)["model"] == "customers@1"
    return store


def train_arguments(source: Path, store: Path | str, *extra: str) -> list[str]:
    settings = {
        "name": "customers",
        "data.source": str(source),
        "data.target": "churned",
        "model.name": "tvae",
        "model.config": "{embedding_dim: 8, compress_dims: [32], decompress_dims: [32]}",
        "training.max_steps": "40",
        "training.global_batch_rows": "200",
        "training.threads": "1",
    }
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return ["table", *sets, *extra, "--store", str(store)]


@pytest.fixture
def foreground() -> Iterator[None]:
    """Processes started in the test hear SIGINT, also where the tests themselves were started in the
    background by a shell, which has them ignore it."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, inherited)
