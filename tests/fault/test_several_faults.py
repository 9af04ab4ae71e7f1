"""Families of several tables: killed workers and a killed driver leave no trace; the same command goes on
where it was, and all tables are committed at once, in a folder and on S3."""

import shutil
from pathlib import Path

import pyarrow.csv as pc
import pytest

import synthmill
from jobs import last_line
from processes import kill, kill_tree, start_job, titled, until
from retail import FIVE, five_tables
from s3 import S3Server
from synthmill.catalog.admin import verify
from synthmill.config import StorageConfig
from synthmill.storage.folder import Folder

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

TINY = {"model.config": {"embedding_dim": 32, "epochs": 4}, "training.max_steps": 40}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a model of five tables in it; tests copy it before they write."""
    folder = tmp_path_factory.mktemp("shop")
    stated = {
        name: {**table, "source": str(folder / f"{name}.csv")} for name, table in FIVE["tables"].items()
    }
    for name, table in five_tables(150).items():
        pc.write_csv(table, folder / f"{name}.csv")
    model = synthmill.fit_tables({"tables": stated}, name="shop", overrides=TINY, progress=False)
    model.save(str(folder / "store"))
    return folder / "store"


def arguments(store: str, workers: int) -> list[str]:
    job = ["--model", "shop", "--dataset", "out", "--scale", "30", "--shard-rows", "500", "--seed", "7"]
    return [*job, "--workers", str(workers), "--store", store]


@pytest.fixture(scope="module")
def clean(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What an undisturbed run ends with."""
    store = shutil.copytree(shop, tmp_path_factory.mktemp("clean") / "store")
    job = start_job("augment", *arguments(str(store), 2))
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    return last_line(output)


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, shop: Path, tmp_path: Path, s3: S3Server, s3_store: str) -> str:
    """The model in a folder, and on the server."""
    if request.param == "file":
        return str(shutil.copytree(shop, tmp_path / "store"))
    prefix = s3_store.removeprefix(f"s3://{s3.bucket}/")
    for path in (path for path in shop.rglob("*") if path.is_file()):
        s3.client().upload_file(str(path), s3.bucket, f"{prefix}/{path.relative_to(shop)}")
    return s3_store


def test_killed_workers_and_a_killed_driver_leave_no_trace(
    store: str, s3: S3Server, clean: dict[str, object]
) -> None:
    version = Folder(f"{store}/datasets/out/1")

    def receipts() -> list[str]:
        return [entry.path for entry in version.list("_receipts/", recursive=False)]

    job = start_job("augment", *arguments(store, 2), env=s3.environment)
    kill(until(lambda: titled(job.pid, "ray::count_stretch"), what="a worker that counts")[0])
    kill(until(lambda: titled(job.pid, "ray::write_stretch"), what="a worker that writes")[0])
    until(lambda: len(receipts()) >= 3, what="three stretches")
    kill_tree(job)
    kept = {path: version.read_json(path) for path in receipts()}
    assert len(kept) >= 3
    parts = {entry.path: version.digest(entry.path) for entry in version.list() if "/part-" in entry.path}
    assert not version.exists("_manifest.json")

    again = start_job("augment", *arguments(store, 1), env=s3.environment)
    output, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    result = last_line(output)
    assert result["dataset"] == "out@1"
    assert (result["content_digest"], result["tables"]) == (clean["content_digest"], clean["tables"])
    # Stretches with a receipt were not written again, and what was half-written is what a clean run writes.
    assert {path: version.read_json(path) for path in kept} == kept
    assert all(version.digest(path) == digest for path, digest in parts.items() if not path.startswith("_"))
    assert verify(f"{store}/datasets/out/1", StorageConfig()) == []
