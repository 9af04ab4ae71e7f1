"""Training from shards on disk: killed workers and drivers, damaged shards, a disk that is too small."""

import os
from pathlib import Path

import pytest

from customers import write_customers
from fault.conftest import train_arguments
from fault.test_storage_faults import one_line, small_disk
from fault.test_train_faults import LONG, checkpoints, weights
from jobs import last_line
from processes import kill, kill_tree, start_job, titled, until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

STREAMED = (*LONG, "--set", "data.stream=always")


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    store = tmp_path_factory.mktemp("undisturbed")
    job = start_job("train", *train_arguments(source, store, *STREAMED))
    _, errors = job.communicate(timeout=600)
    assert job.returncode == 0, errors
    return weights(store)


def test_a_killed_worker_goes_on_from_the_shards(source: Path, tmp_path: Path, undisturbed: str) -> None:
    store, scratch = tmp_path / "store", tmp_path / "scratch"
    job = start_job(
        "train", *train_arguments(source, store, *STREAMED), env={"SYNTHMILL_SCRATCH": str(scratch)}
    )
    until(lambda: checkpoints(store), seconds=400, what="a checkpoint")
    [worker] = titled(job.pid, "TrainingWorker")
    kill(worker)
    _, errors = job.communicate(timeout=600)
    assert job.returncode == 0, errors
    assert weights(store) == undisturbed
    assert list(scratch.iterdir()) == [], "the copy of the encoded rows outlived the run"


def test_after_a_killed_driver_a_damaged_shard_is_named_and_encoded_again(
    source: Path, tmp_path: Path, undisturbed: str
) -> None:
    job = start_job("train", *train_arguments(source, tmp_path, *STREAMED))
    until(lambda: checkpoints(tmp_path), seconds=400, what="a checkpoint")
    kill_tree(job)
    [shard] = tmp_path.glob("runs/*/*/shards/part-00000.records")
    with shard.open("r+b") as file:
        file.seek(100)
        byte = file.read(1)
        file.seek(100)
        file.write(bytes([byte[0] ^ 1]))
        os.fsync(file.fileno())
    again = start_job("train", *train_arguments(source, tmp_path, *STREAMED))
    output, errors = again.communicate(timeout=600)
    assert again.returncode == 0, errors
    assert "part-00000.records: the bytes do not match the recorded SHA-256" in output
    assert "the rows are encoded again" in output
    assert "resuming from the last checkpoint" in output
    assert weights(tmp_path) == undisturbed


def test_a_disk_without_room_for_the_shards_is_known_before_training(tmp_path: Path) -> None:
    source = write_customers(tmp_path / "customers.csv", rows=60_000)
    with small_disk(tmp_path / "disk", "size=256k") as disk:
        job = start_job("train", *train_arguments(source, disk / "store", *STREAMED))
        output, errors = job.communicate(timeout=240)
        assert job.returncode == 3, errors
        assert "encoded rows need" in one_line(errors)
        assert last_line(output)["status"] == "failed"
        assert "training:" not in output
        assert not list(disk.rglob("*.records"))
