"""Killed training workers and drivers: the run resumes from its last checkpoint, and nothing is trained
twice."""

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest

from fault.conftest import train_arguments
from jobs import last_line
from processes import ROOT, kill, kill_tree, start_job, titled, until
from synthmill import api
from synthmill.runtime.worker import OUTCOME

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

LONG = (
    "--set",
    "training.max_steps=1500",
    "--set",
    "training.max_epochs=100000",
    "--set",
    "training.checkpoint_seconds=0.5",
    "--set",
    "training.patience_checks=never",
)


def checkpoints(store: Path) -> list[Path]:
    return sorted(store.glob("runs/*/*/checkpoints/*/*manifest*.json"))


def history(store: Path) -> list[dict[str, float]]:
    return [
        json.loads(line) for line in (store / "models/customers/1/history.jsonl").read_text().splitlines()
    ]


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The content digest of the weights of a run that nothing disturbed."""
    store = tmp_path_factory.mktemp("undisturbed")
    job = start_job("train", *train_arguments(source, store, *LONG))
    _, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    return weights(store)


def weights(store: Path) -> str:
    manifest = json.loads((store / "models/customers/1/_manifest.json").read_text())
    found: str = next(
        entry["sha256"] for entry in manifest["files"] if entry["path"] == "weights.safetensors"
    )
    return found


def test_a_killed_worker_resumes_and_trains_the_same_weights(
    source: Path, tmp_path: Path, undisturbed: str
) -> None:
    job = start_job("train", *train_arguments(source, tmp_path, *LONG))
    until(lambda: checkpoints(tmp_path), what="a checkpoint")
    [worker] = titled(job.pid, "TrainingWorker")
    kill(worker)
    _, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    assert history(tmp_path)[-1]["step"] == 1500
    assert weights(tmp_path) == undisturbed


def test_a_killed_driver_resumes_with_the_same_command(
    source: Path, tmp_path: Path, undisturbed: str
) -> None:
    job = start_job("train", *train_arguments(source, tmp_path, *LONG))
    until(lambda: checkpoints(tmp_path), what="a checkpoint")
    kill_tree(job)
    again = start_job("train", *train_arguments(source, tmp_path, *LONG))
    output, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert "resuming from the last checkpoint" in output
    assert last_line(output)["model"] == "customers@1"
    assert weights(tmp_path) == undisturbed


def test_too_many_lost_workers_end_the_run_with_one_line(source: Path, tmp_path: Path) -> None:
    job = start_job("train", *train_arguments(source, tmp_path, *LONG, "--set", "training.max_failures=0"))
    until(lambda: checkpoints(tmp_path), what="a checkpoint")
    [worker] = titled(job.pid, "TrainingWorker")
    kill(worker)
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 3
    assert last_line(output)["status"] == "failed"
    assert errors.strip().splitlines()[-1].startswith("error: training workers failed")
    assert checkpoints(tmp_path)


def test_two_jobs_of_one_recipe_at_once_do_not_disturb_each_other(
    source: Path, tmp_path: Path, undisturbed: str
) -> None:
    pair = [start_job("train", *train_arguments(source, tmp_path, *LONG)) for _ in range(2)]
    results = []
    for job in pair:
        output, errors = job.communicate(timeout=400)
        assert job.returncode == 0, errors
        results.append(last_line(output))
    assert {result["model"] for result in results} == {"customers@1", "customers@2"}
    for number in (1, 2):
        manifest = json.loads((tmp_path / f"models/customers/{number}/_manifest.json").read_text())
        assert undisturbed in {entry["sha256"] for entry in manifest["files"]}


def test_a_lost_node_does_not_end_the_run(source: Path, tmp_path: Path, undisturbed: str) -> None:
    """Two nodes, the worker on one of them; that node is lost, and the other goes on from the last
    checkpoint."""
    import ray
    from ray.cluster_utils import Cluster

    path = f"{ROOT / 'platform'}:{ROOT / 'tests'}"
    cluster = Cluster(
        initialize_head=True, connect=False, head_node_args={"num_cpus": 0, "env_vars": {"PYTHONPATH": path}}
    )
    try:
        doomed = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        # A job of its own joins the cluster; nothing is killed but the node.
        job = start_job(
            "train", *train_arguments(source, tmp_path, *LONG), env={"RAY_ADDRESS": cluster.address}
        )
        until(lambda: checkpoints(tmp_path), what="a checkpoint")
        cluster.remove_node(doomed, allow_graceful=False)
        assert not list(tmp_path.glob(f"runs/*/*/{OUTCOME}")), "the worker was done before its node was lost"
        # Nothing can go on until another node takes its place.
        cluster.add_node(num_cpus=1)
        output, errors = job.communicate(timeout=300)
        assert job.returncode == 0, errors
        assert last_line(output)["model"] == "customers@1"
        assert history(tmp_path)[-1]["step"] == 1500
        assert weights(tmp_path) == undisturbed
    finally:
        ray.shutdown()
        cluster.shutdown()


IMAGES = {
    "name": "digits",
    "training.max_steps": "600",
    "training.max_epochs": "100000",
    "training.threads": "1",
    "training.checkpoint_seconds": "0.5",
    "model.config": "{latent: 4, channels: 8, hidden: 32}",
}


def digits_of(store: Path) -> tuple[str, str]:
    """Digests of the weights and of images drawn with them."""
    manifest = json.loads((store / "models/digits/1/_manifest.json").read_text())
    [sha256] = [entry["sha256"] for entry in manifest["files"] if entry["path"] == "weights.safetensors"]
    drawn = api.load("digits", store=str(store)).sample(50, seed=7)
    return sha256, hashlib.sha256(b"".join(cell["bytes"] for cell in drawn["image"].to_pylist())).hexdigest()


def test_a_killed_worker_goes_on_to_draw_the_same_images(tmp_path: Path) -> None:
    words = [word for key, value in IMAGES.items() for word in ("--set", f"{key}={value}")]
    found = []
    for name in ("undisturbed", "killed"):
        job = start_job("train", "digits_vae", *words, "--store", str(tmp_path / name))
        if name == "killed":
            until(lambda: checkpoints(tmp_path / "killed"), what="a checkpoint")
            [worker] = titled(job.pid, "TrainingWorker")
            kill(worker)
        _, errors = job.communicate(timeout=300)
        assert job.returncode == 0, errors
        found.append(digits_of(tmp_path / name))
    assert found[0] == found[1]


def test_ctrl_c_on_a_terminal_exits_130_with_the_closing_line(
    source: Path, tmp_path: Path, foreground: None
) -> None:
    """A terminal sends it to Ray's processes, too."""
    job = start_job("train", *train_arguments(source, tmp_path, *LONG), own_group=True)
    until(lambda: checkpoints(tmp_path), what="a checkpoint")
    os.killpg(job.pid, signal.SIGINT)
    output, _ = job.communicate(timeout=120)
    assert job.returncode == 130
    assert last_line(output) == {"status": "interrupted", "exit_code": 130}
