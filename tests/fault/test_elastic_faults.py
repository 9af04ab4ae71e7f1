"""A run with a range of workers goes on with those that are left and takes in new ones: the same model, told
as it happens, and no step of a planned change repeated."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster
from safetensors.numpy import load_file

from customers import write_customers
from fault.conftest import train_arguments
from jobs import last_line
from processes import ROOT, start_job, until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

STEPS = 90
LONG = {
    "training.max_steps": STEPS,
    "training.max_epochs": 100000,
    "training.checkpoint_seconds": 2,
    "training.resize_seconds": 1,
    # Steps that take a while, rather than many of them: rounding grows with each.
    "training.global_batch_rows": 10000,
    "model.config": "{embedding_dim: 8, compress_dims: [256, 256], decompress_dims: [256, 256]}",
    "training.check_every_steps": 90,
    "training.patience_checks": "never",
}


def sets(**others: object) -> list[str]:
    named = {**LONG, **{f"training.{name}": value for name, value in others.items()}}
    return [word for key, value in named.items() for word in ("--set", f"{key}={value}")]


class Told:
    """The lines of a job, as they come."""

    def __init__(self, job: "subprocess.Popen[str]") -> None:
        self.job, self.lines = job, list[str]()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.job.stdout is not None
        for line in self.job.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait(self, pattern: str) -> "re.Match[str]":
        """The first line that matches."""

        def found() -> "re.Match[str] | None":
            assert self.job.poll() in (None, 0), (self.lines, self.job.stderr and self.job.stderr.read())
            return next((m for line in self.lines if (m := re.search(pattern, line))), None)

        return until(found, seconds=240, what=f"{pattern} after {self.lines[-8:]}")

    def end(self) -> str:
        code = self.job.wait(timeout=400)
        assert code == 0, (self.lines, self.job.stderr and self.job.stderr.read())
        until(lambda: self.lines and self.lines[-1].startswith("{"), what="the closing line")
        return "\n".join(self.lines)


@pytest.fixture(scope="module")
def large_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_customers(tmp_path_factory.mktemp("source") / "customers.csv", rows=20000)


@pytest.fixture
def three_nodes() -> Iterator[tuple[Cluster, list[object]]]:
    """A head without CPUs and three nodes of one."""
    path = f"{ROOT / 'platform'}:{ROOT / 'tests'}"
    cluster = Cluster(
        initialize_head=True, connect=False, head_node_args={"num_cpus": 0, "env_vars": {"PYTHONPATH": path}}
    )
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
        cluster.wait_for_nodes()
        yield cluster, nodes
    finally:
        ray.shutdown()
        cluster.shutdown()


def weights(store: Path) -> dict[str, np.ndarray]:
    return load_file(store / "models/customers/1/weights.safetensors")


def test_a_lost_node_and_a_new_one_leave_the_model_as_it_would_have_been(
    three_nodes: tuple[Cluster, list[object]], large_source: Path, tmp_path: Path
) -> None:
    cluster, nodes = three_nodes
    calm = start_job("train", *train_arguments(large_source, tmp_path / "calm", *sets(workers=1)))
    disturbed = tmp_path / "disturbed"
    told = Told(
        start_job(
            "train",
            *train_arguments(large_source, disturbed, *sets(workers="2..3")),
            env={"RAY_ADDRESS": cluster.address},
        )
    )
    told.wait(r"^training with 3 of at most 3 workers$")
    until(lambda: list(disturbed.glob("runs/*/*/checkpoints/*/manifest.json")), what="a checkpoint")
    cluster.remove_node(nodes[0], allow_graceful=False)
    told.wait(r"^a node was lost: going on with 2 of 3 workers$")
    cluster.add_node(num_cpus=1)
    joined = told.wait(r"^a third worker joined at step (\d+)$")
    # From the very step at which the two left.
    told.wait(rf"^resumed at step {joined[1]} of {STEPS}$")
    output = told.end()
    assert last_line(output)["model"] == "customers@1"
    _, errors = calm.communicate(timeout=400)
    assert calm.returncode == 0, errors

    steps = [
        json.loads(line)["step"]
        for line in (disturbed / "models/customers/1/history.jsonl").read_text().splitlines()
    ]
    assert steps == sorted(steps)
    expected, found = weights(tmp_path / "calm"), weights(disturbed)
    assert expected.keys() == found.keys()
    # Other shares of a batch are rounded otherwise, and Adam makes as much of a small gradient as of a large
    # one. What is refitted to the weights at the end may settle elsewhere, and is left out.
    trained = [name for name in expected if name.startswith("decoder.")]
    apart = sum(float(np.square(found[name] - expected[name]).sum()) for name in trained)
    size = sum(float(np.square(expected[name]).sum()) for name in trained)
    assert (apart / size) ** 0.5 < 0.02


def test_a_machine_that_is_taken_away_with_notice_costs_the_steps_since_a_checkpoint_of_then(
    three_nodes: tuple[Cluster, list[object]], source: Path, tmp_path: Path
) -> None:
    """Checkpoints are an hour apart: only the notice makes one."""
    cluster, nodes = three_nodes
    hourly = sets(workers="2..3", checkpoint_seconds=3600, global_batch_rows=2000, max_steps=600)
    told = Told(
        start_job("train", *train_arguments(source, tmp_path, *hourly), env={"RAY_ADDRESS": cluster.address})
    )
    told.wait(r"^training with 3 of at most 3 workers$")
    assert not list(tmp_path.glob("runs/*/*/checkpoints/*/manifest.json"))
    ray.init(cluster.address, log_to_driver=False)
    drain(cluster.address, nodes[0].node_id)  # type: ignore[attr-defined]
    told.wait(r"^a machine is about to be taken away: a checkpoint is written$")
    written = until(
        lambda: list(tmp_path.glob("runs/*/*/checkpoints/*/manifest.json")), what="the checkpoint"
    )
    first = min(int(path.parent.name.rpartition("-")[2]) for path in written)
    cluster.remove_node(nodes[0], allow_graceful=False)
    told.wait(r"^a node was lost: going on with 2 of 3 workers$")
    resumed = told.wait(r"^resumed at step (\d+) of 600$")
    assert 0 < first <= int(resumed[1])
    assert last_line(told.end())["model"] == "customers@1"


def drain(address: str, node_id: str) -> None:
    """What a cloud's notice of a spot machine comes to: Ray is told that the node will be gone."""
    words = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot", "--node-id", node_id]
    script = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
    command = [sys.executable, "-c", script, "drain-node", "--address", address, *words]
    subprocess.run([*command, "--deadline-remaining-seconds", "600"], check=True, timeout=120)
