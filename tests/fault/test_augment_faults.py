"""Killed writers, killed drivers, lost nodes: the dataset comes out whole, and equal to that of a clean
run."""

import json
import shutil
import threading
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from jobs import last_line
from processes import ROOT, descendants, kill, kill_tree, start_job, titled, until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

ROWS = 60 * 4096 + 100


def arguments(store: Path, dataset: str, *extra: str) -> list[str]:
    job = [
        "--model",
        "customers@1",
        "--rows",
        str(ROWS),
        "--seed",
        "7",
        "--dataset",
        dataset,
        "--store",
        str(store),
    ]
    return [*job, "--shard-rows", "4096", *extra]


@pytest.fixture(scope="module")
def clean(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The content digest of an undisturbed run."""
    store = copied(model_store, tmp_path_factory.mktemp("clean"))
    job = start_job("augment", *arguments(store, "out", "--workers", "2"))
    output, errors = job.communicate(timeout=240)
    assert job.returncode == 0, errors
    digest: str = last_line(output)["content_digest"]
    return digest


def copied(model_store: Path, folder: Path) -> Path:
    return Path(shutil.copytree(model_store, folder / "store"))


def receipts(store: Path) -> list[Path]:
    return sorted(store.glob("datasets/out/*/_receipts/*.json"))


def test_a_killed_writer_is_replaced(model_store: Path, tmp_path: Path, clean: str) -> None:
    store = copied(model_store, tmp_path)
    job = start_job("augment", *arguments(store, "out", "--workers", "2"))
    until(lambda: receipts(store), what="the first part")
    victims = until(lambda: titled(job.pid, "ray::write_part"), what="a writer at work")
    kill(victims[0])
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    assert last_line(output)["content_digest"] == clean


def test_a_killed_driver_goes_on_where_it_was(model_store: Path, tmp_path: Path, clean: str) -> None:
    store = copied(model_store, tmp_path)
    job = start_job("augment", *arguments(store, "out", "--workers", "1"))
    until(lambda: len(receipts(store)) >= 3, what="three parts")
    kill_tree(job)
    parts = {path.name: path.stat().st_mtime_ns for path in store.glob("datasets/out/1/*.parquet")}
    kept = [json.loads(path.read_text())["part"] for path in receipts(store)]
    assert 3 <= len(kept) < 61
    assert not (store / "datasets/out/1/_manifest.json").exists()

    again = start_job("augment", *arguments(store, "out", "--workers", "2"))
    output, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    result = last_line(output)
    assert result["dataset"] == "out@1"
    assert result["content_digest"] == clean
    assert all((store / "datasets/out/1" / name).stat().st_mtime_ns == parts[name] for name in kept)


def test_folders_are_whole_after_a_killed_writer_and_a_killed_driver(
    model_store: Path, tmp_path: Path
) -> None:
    folders = ("--partition-by", "plan,churned")
    undisturbed = copied(model_store, tmp_path / "clean")
    job = start_job("augment", *arguments(undisturbed, "out", "--workers", "1", *folders))
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    expected = last_line(output)["content_digest"]

    store = copied(model_store, tmp_path / "killed")
    job = start_job("augment", *arguments(store, "out", "--workers", "2", *folders))
    until(lambda: receipts(store), what="the first part")
    kill(until(lambda: titled(job.pid, "ray::write_part"), what="a writer at work")[0])
    until(lambda: len(receipts(store)) >= 5, what="five parts")
    kill_tree(job)
    assert not (store / "datasets/out/1/_manifest.json").exists()
    again = start_job("augment", *arguments(store, "out", "--workers", "2", *folders))
    output, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    result = last_line(output)
    assert (result["dataset"], result["content_digest"], result["rows"]) == ("out@1", expected, ROWS)


def test_a_lost_node_does_not_matter(model_store: Path, tmp_path: Path, clean: str) -> None:
    from synthmill import api

    store = copied(model_store, tmp_path)
    cluster = Cluster(
        initialize_head=True,
        connect=False,
        head_node_args={"num_cpus": 1, "env_vars": {"PYTHONPATH": str(ROOT / "platform")}},
    )
    try:
        doomed = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        path = f"{ROOT / 'platform'}:{ROOT / 'tests'}"
        ray.init(address=cluster.address, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": path}})
        published: list[str] = []

        def run() -> None:
            version = api.augment(
                "customers@1", rows=ROWS, seed=7, dataset="out", store=str(store), shard_rows=4096, workers=2
            )
            published.append(version.manifest.content_digest)

        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: len(receipts(store)) >= 3, what="three parts")
        cluster.remove_node(doomed, allow_graceful=False)
        assert not published, "the job was done before the node was lost"
        # The second writer has nowhere to go until a node takes its place.
        cluster.add_node(num_cpus=1)
        thread.join(timeout=300)
        assert published == [clean]
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_two_jobs_with_one_name_get_two_versions(model_store: Path, tmp_path: Path, clean: str) -> None:
    store = copied(model_store, tmp_path)
    pair = [start_job("augment", *arguments(store, "out", "--workers", "1")) for _ in range(2)]
    results = []
    for job in pair:
        output, errors = job.communicate(timeout=400)
        assert job.returncode == 0, errors
        results.append(last_line(output))
    assert {result["dataset"] for result in results} == {"out@1", "out@2"}
    assert {result["content_digest"] for result in results} == {clean}
    for number in (1, 2):
        assert (store / f"datasets/out/{number}/_manifest.json").exists()


def test_an_interrupted_job_exits_130_and_leaves_no_process(model_store: Path, tmp_path: Path) -> None:
    store = copied(model_store, tmp_path)
    job = start_job("augment", *arguments(store, "out", "--workers", "1"))
    until(lambda: receipts(store), what="the first part")
    below = descendants(job.pid)
    job.terminate()
    output, _ = job.communicate(timeout=120)
    assert job.returncode == 130
    assert last_line(output)["status"] == "interrupted"
    until(
        lambda: not [pid for pid in below if Path(f"/proc/{pid}").exists()],
        seconds=60,
        what="the end of all processes",
    )
