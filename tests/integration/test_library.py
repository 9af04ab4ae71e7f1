"""The library on Ray: the same model as in this process, from rows in memory."""

from pathlib import Path

import pytest

import synthmill
from synthmill.errors import ResourceError
from tables import customers

SMALL = {
    "model.name": "tvae",
    "model.config": {"embedding_dim": 8, "compress_dims": [32], "decompress_dims": [32]},
    "training.max_steps": 5,
    "training.global_batch_rows": 100,
    "training.threads": 1,
}


def test_rows_in_memory_train_on_ray_as_they_do_here(local_ray: None, tmp_path: Path) -> None:
    table = customers(300)
    here = synthmill.fit(table, target="churned", name="c", overrides=SMALL)
    there = synthmill.fit(table, target="churned", name="c", overrides=SMALL, ray=True)
    for key in ("recipe", "recipe_fingerprint", "source", "split", "layout", "profile"):
        assert there.artifact.config[key] == here.artifact.config[key], key
    assert there.artifact.codec == here.artifact.codec
    assert there.digest == here.digest
    assert there.save(str(tmp_path)).ref == "c@1"


def test_more_workers_than_there_are_is_the_callers_mistake(local_ray: None) -> None:
    with pytest.raises(ResourceError, match=r"training.workers: "):
        synthmill.fit(customers(300), overrides=SMALL, workers=500)


def test_workers_use_ray(local_ray: None) -> None:
    fitted = synthmill.fit(customers(300), overrides=SMALL, workers=2)
    assert fitted.artifact.config["training"]["workers"] == 2
