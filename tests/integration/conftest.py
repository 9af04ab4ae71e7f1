"""One local Ray, one small table and one trained model for every test that needs them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from customers import write_customers
from processes import ROOT
from synthmill.catalog.store import Version


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """The Ray that all integration tests share: four CPUs, no dashboard."""
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": f"{ROOT / 'platform'}:{ROOT / 'tests'}"}},
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def customers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 1,200 customers: numbers with point masses, categories, missing cells, a boolean, an
    identifier."""
    return write_customers(tmp_path_factory.mktemp("source") / "customers.csv", rows=1200)


@pytest.fixture(scope="session")
def trained(local_ray: None, customers: Path, tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A small `tvae` of the customers, trained under Ray Train, in a store of its own."""
    from synthmill import api

    return api.train(small_recipe(customers), store=str(tmp_path_factory.mktemp("store")))


def small_recipe(
    source: Path, *, model: str = "tvae", name: str = "customers", **training: object
) -> dict[str, object]:
    """Seconds of training: 40 steps of a narrow network."""
    config: dict[str, object] = (
        {"embedding_dim": 8, "compress_dims": [32], "decompress_dims": [32]} if model == "tvae" else {}
    )
    if model == "ctgan":
        config = {"embedding_dim": 16, "generator_dim": [32], "discriminator_dim": [32]}
    return {
        "name": name,
        "data": {"source": str(source), "target": "churned"},
        "model": {"name": model, "config": config},
        "training": {"seed": 0, "max_steps": 40, "global_batch_rows": 200, "threads": 1, **training},
    }
