"""Stores that fail under a job: what passes is retried, what stays is one clear line and exit 3, and nothing half-written is left."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fault.conftest import train_arguments
from faults import Proxy, faulty_proxy
from jobs import last_line
from processes import start_job, until
from s3 import S3Server

pytestmark = [pytest.mark.fault, pytest.mark.timeout(420)]

PATIENT = ("--set", "storage.retry_seconds=60")
SHORT = ("--set", "storage.retry_seconds=3")


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[Proxy]:
    with faulty_proxy(s3.endpoint) as between:
        yield between


def run(verb: str, arguments: list[str], server: S3Server, endpoint: str) -> tuple[int, dict[str, object], str, str]:
    job = start_job(verb, *arguments, env={**server.environment, "AWS_ENDPOINT_URL": endpoint})
    output, errors = job.communicate(timeout=300)
    return job.returncode, last_line(output), errors, output


def one_line(errors: str) -> str:
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, errors
    assert "testing" not in lines[0]
    return lines[0]


@pytest.mark.parametrize("action", ["500", "503", "reset"])
def test_a_store_that_fails_for_a_while_is_retried(source: Path, s3: S3Server, proxy: Proxy, action: str) -> None:
    proxy.fail(action, times=6, on="^PUT")  # type: ignore[arg-type]
    store = s3.new_uri()
    code, result, errors, _ = run("train", train_arguments(source, store, *PATIENT), s3, proxy.endpoint)
    assert code == 0, errors
    assert result["model"] == "customers@1"


@pytest.mark.parametrize(
    ("action", "said"), [("500", "500"), ("503", "503"), ("hang", "gave up"), ("403", "403"), ("404-bucket", "bucket")]
)
def test_a_store_that_fails_for_good_is_one_line_before_training(source: Path, s3: S3Server, proxy: Proxy, action: str, said: str) -> None:
    proxy.fail(action)  # type: ignore[arg-type]
    store = s3.new_uri()
    code, result, errors, output = run("train", train_arguments(source, store, *SHORT), s3, proxy.endpoint)
    assert (code, result["status"]) == (3, "failed")
    line = one_line(errors)
    assert store in line
    assert said in line
    assert "training:" not in output


def test_a_part_that_is_cut_off_leaves_no_truncated_object(model_store: Path, s3: S3Server, proxy: Proxy) -> None:
    store = s3.new_uri()
    prefix = store.removeprefix(f"s3://{s3.bucket}/")
    client = s3.client()
    for path in (model_store / "models").rglob("*"):
        if path.is_file():
            client.upload_file(str(path), s3.bucket, f"{prefix}/{path.relative_to(model_store)}")
    proxy.fail("cut-upload", times=3, on=r"^PUT .*/part-\d+\.parquet")
    arguments = ["--model", "customers@1", "--rows", "20000", "--dataset", "out", "--store", store, "--shard-rows", "4096", *PATIENT]
    code, result, errors, _ = run("augment", arguments, s3, proxy.endpoint)
    assert code == 0, errors
    assert result["rows"] == 20000
    assert sum("part-" in request and request.startswith("PUT") and "_receipts" not in request for request in proxy.seen) == 5 + 3
    from pyarrow.fs import S3FileSystem

    filesystem = S3FileSystem(endpoint_override=s3.endpoint.removeprefix("http://"), scheme="http", access_key="t", secret_key="t")
    assert pq.read_table(f"{s3.bucket}/{prefix}/datasets/out/1", filesystem=filesystem).num_rows == 20000


def test_a_bucket_that_is_not_there(source: Path, s3: S3Server) -> None:
    code, _, errors, _ = run("train", train_arguments(source, "s3://no-such-bucket-here/x", *SHORT), s3, s3.endpoint)
    assert code == 3
    assert "bucket" in one_line(errors)


def test_a_server_that_is_not_there(source: Path, s3: S3Server) -> None:
    code, _, errors, _ = run("train", train_arguments(source, s3.new_uri(), *SHORT), s3, "http://127.0.0.1:9")
    assert code == 3
    assert "gave up after" in one_line(errors)


def test_a_folder_that_can_not_be_written(source: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    job = start_job("train", *train_arguments(source, blocked / "store"))
    _, errors = job.communicate(timeout=120)
    assert job.returncode == 3
    assert "a part of the path is a file, not a folder" in one_line(errors)


def test_a_full_disk_stops_the_job_with_one_line(model_store: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=3m tmpfs {disk} 2>/dev/null"):
        pytest.skip("needs the right to mount a small file system")
    try:
        shutil.copytree(model_store / "models", disk / "models")
        job = start_job(
            "augment", "--model", "customers@1", "--rows", "400000", "--dataset", "out", "--store", str(disk), "--shard-rows", "4096"
        )
        output, errors = job.communicate(timeout=240)
        assert job.returncode == 3, errors
        assert "the disk is full" in one_line(errors)
        assert last_line(output)["status"] == "failed"
        assert not (disk / "datasets/out/1/_manifest.json").exists()
    finally:
        until(lambda: os.system(f"umount {disk}") == 0, seconds=30, what="the end of all writers")
