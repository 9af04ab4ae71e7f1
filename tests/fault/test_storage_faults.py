"""Stores that fail under a job: what passes is retried, what stays is one clear line and exit 3, and nothing
half-written is left."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fault.conftest import train_arguments
from faults import Proxy, faulty_proxy
from jobs import last_line
from processes import start_job, until
from s3 import S3Server

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

PATIENT = ("--set", "storage.retry_seconds=60")
SHORT = ("--set", "storage.retry_seconds=10")
"""A try may last half of it, which leaves a busy machine time to answer."""


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[Proxy]:
    with faulty_proxy(s3.endpoint) as between:
        yield between


def run(
    verb: str, arguments: list[str], server: S3Server, endpoint: str
) -> tuple[int, dict[str, object], str, str]:
    job = start_job(verb, *arguments, env={**server.environment, "AWS_ENDPOINT_URL": endpoint})
    output, errors = job.communicate(timeout=300)
    return job.returncode, last_line(output), errors, output


def one_line(errors: str) -> str:
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, errors
    assert "testing" not in lines[0]
    return lines[0]


@pytest.mark.parametrize(("action", "times"), [("500", 6), ("503", 6), ("reset", 6), ("hang", 2)])
def test_a_store_that_fails_for_a_while_is_retried(
    source: Path, s3: S3Server, proxy: Proxy, action: str, times: int
) -> None:
    proxy.fail(action, times=times, on="^PUT")  # type: ignore[arg-type]
    store = s3.new_uri()
    patient = ("--set", "storage.retry_seconds=60", "--set", "storage.read_seconds=4")
    code, result, errors, _ = run("train", train_arguments(source, store, *patient), s3, proxy.endpoint)
    assert code == 0, errors
    assert result["model"] == "customers@1"


@pytest.mark.parametrize(
    ("action", "said"),
    [("500", "500"), ("503", "503"), ("hang", "gave up"), ("403", "403"), ("404-bucket", "bucket")],
)
def test_a_store_that_fails_for_good_is_one_line_before_training(
    source: Path, s3: S3Server, proxy: Proxy, action: str, said: str
) -> None:
    proxy.fail(action)  # type: ignore[arg-type]
    store = s3.new_uri()
    code, result, errors, output = run("train", train_arguments(source, store, *SHORT), s3, proxy.endpoint)
    assert (code, result["status"]) == (3, "failed")
    line = one_line(errors)
    assert store in line
    assert said in line
    assert "training:" not in output


@pytest.fixture
def s3_model(model_store: Path, s3: S3Server) -> str:
    """A store on the server with `customers@1` in it."""
    store = s3.new_uri()
    prefix = store.removeprefix(f"s3://{s3.bucket}/")
    for path in (model_store / "models").rglob("*"):
        if path.is_file():
            s3.client().upload_file(str(path), s3.bucket, f"{prefix}/{path.relative_to(model_store)}")
    return store


def augment_arguments(store: str, *extra: str) -> list[str]:
    return [
        "--model",
        "customers@1",
        "--rows",
        "20000",
        "--dataset",
        "out",
        "--store",
        store,
        "--shard-rows",
        "4096",
        *extra,
    ]


@pytest.mark.parametrize(
    ("action", "said"), [("500", "500"), ("503", "503"), ("hang", "gave up"), ("403", "403")]
)
def test_a_store_that_fails_for_good_while_parts_are_written(
    s3_model: str, s3: S3Server, proxy: Proxy, action: str, said: str
) -> None:
    proxy.fail(action, on=r"^PUT .*/part-\d+\.parquet")  # type: ignore[arg-type]
    code, result, errors, _ = run("augment", augment_arguments(s3_model, *SHORT), s3, proxy.endpoint)
    assert (code, result["status"]) == (3, "failed")
    line = one_line(errors)
    assert f"{s3_model}/datasets/out/1/part-" in line
    assert said in line
    written = s3.client().list_objects_v2(
        Bucket=s3.bucket, Prefix=s3_model.removeprefix(f"s3://{s3.bucket}/") + "/datasets/"
    )["Contents"]
    assert not [entry["Key"] for entry in written if entry["Key"].endswith((".parquet", "_manifest.json"))]
    # The claim was given back: the same command goes on at once, in the same version.
    proxy.work()
    code, result, errors, _ = run("augment", augment_arguments(s3_model, *PATIENT), s3, proxy.endpoint)
    assert (code, result["dataset"]) == (0, "out@1"), errors


def test_a_part_that_is_cut_off_leaves_no_truncated_object(s3_model: str, s3: S3Server, proxy: Proxy) -> None:
    prefix = s3_model.removeprefix(f"s3://{s3.bucket}/")
    proxy.fail("cut-upload", times=3, on=r"^PUT .*/part-\d+\.parquet")
    code, result, errors, _ = run("augment", augment_arguments(s3_model, *PATIENT), s3, proxy.endpoint)
    assert code == 0, errors
    assert result["rows"] == 20000
    assert (
        sum(
            "part-" in request and request.startswith("PUT") and "_receipts" not in request
            for request in proxy.seen
        )
        == 5 + 3
    )
    from pyarrow.fs import S3FileSystem

    filesystem = S3FileSystem(
        endpoint_override=s3.endpoint.removeprefix("http://"), scheme="http", access_key="t", secret_key="t"
    )
    assert pq.read_table(f"{s3.bucket}/{prefix}/datasets/out/1", filesystem=filesystem).num_rows == 20000


@pytest.mark.parametrize("workers", [1, 2])
def test_a_store_that_fails_for_good_while_a_model_is_trained(
    source: Path, s3: S3Server, proxy: Proxy, workers: int
) -> None:
    """With two workers, the one that can't write its checkpoint does not leave the other waiting for its
    gradients."""
    proxy.fail("503", on=r"^PUT .*/checkpoints/")
    sets = (
        "--set",
        f"training.workers={workers}",
        "--set",
        "training.max_steps=100000",
        "--set",
        "training.max_epochs=100000",
        "--set",
        "training.patience_checks=never",
    )
    job = train_arguments(source, s3.new_uri(), *sets, "--set", "training.checkpoint_seconds=0.5", *SHORT)
    code, result, errors, _ = run("train", job, s3, proxy.endpoint)
    assert (code, result["status"]) == (3, "failed")
    line = one_line(errors)
    assert "/checkpoints/step-" in line
    assert "503" in line


def test_a_bucket_that_is_not_there(source: Path, s3: S3Server) -> None:
    code, _, errors, _ = run(
        "train", train_arguments(source, "s3://no-such-bucket-here/x", *SHORT), s3, s3.endpoint
    )
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
    _, errors = job.communicate(timeout=240)
    assert job.returncode == 3
    assert "a part of the path is a file, not a folder" in one_line(errors)


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own, mounted for a while."""
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True
    ).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield folder
    finally:
        until(
            lambda: subprocess.run(["umount", folder], capture_output=True).returncode == 0,
            seconds=30,
            what="the end of all writers",
        )


@pytest.mark.parametrize("state", ["read-only", "full"])
def test_a_store_that_takes_nothing_is_known_before_training(
    source: Path, tmp_path: Path, state: str
) -> None:
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        if state == "full":
            with contextlib.suppress(OSError):
                (disk / "ballast").write_bytes(b"x" * (1 << 20))
        else:
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        job = start_job("train", *train_arguments(source, disk / "store"))
        output, errors = job.communicate(timeout=240)
        assert job.returncode == 3, errors
        assert {"full": "the disk is full", "read-only": "the file system is read-only"}[state] in one_line(
            errors
        )
        assert last_line(output)["status"] == "failed"
        assert "training:" not in output


def test_a_full_disk_stops_the_job_with_one_line(model_store: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=3m") as disk:
        shutil.copytree(model_store / "models", disk / "models")
        job = start_job(
            "augment",
            "--model",
            "customers@1",
            "--rows",
            "400000",
            "--dataset",
            "out",
            "--store",
            str(disk),
            "--shard-rows",
            "4096",
        )
        output, errors = job.communicate(timeout=240)
        assert job.returncode == 3, errors
        assert "the disk is full" in one_line(errors)
        assert last_line(output)["status"] == "failed"
        assert not (disk / "datasets/out/1/_manifest.json").exists()
