"""Clusters whose workers start at zero: accepted, all machines asked for at once, waiting said, what can
never be had refused. The machines are real raylets that Ray's own autoscaler starts."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fault.conftest import train_arguments
from growing import growing_cluster
from jobs import last_line
from processes import start_job, until
from served_process import serving

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

TUNE = (
    "tune.max_trials=2",
    "tune.sample_rows=300",
    "tune.confirm_seeds=2",
    "tune.objective=tabular.pair_gap",
    "tune.constraints=none",
    "tune.concurrency=2",
)
JOINED = {"RAY_AUTH_MODE": "disabled"}


@pytest.fixture
def grown() -> Iterator[str]:
    """Four machines of two CPUs at most, none at first."""
    with growing_cluster({"small": ({"CPU": 2}, 4)}) as address:
        yield address


def run(address: str, verb: str, *arguments: str) -> tuple[int, str, str]:
    job = start_job(verb, *arguments, env={"RAY_ADDRESS": address, **JOINED})
    output, errors = job.communicate(timeout=400)
    return job.returncode, output, errors


def test_four_workers_train_from_zero_and_the_rest_follows(grown: str, source: Path, tmp_path: Path) -> None:
    """Training asks for four machines, generation finds them there; nothing that never fits is waited for."""
    sets = ("--set", "training.workers=4", "--set", "training.threads=2")
    code, output, errors = run(grown, "train", *train_arguments(source, tmp_path, *sets))
    assert code == 0, errors
    waits = [line for line in output.splitlines() if line.startswith("waiting for machines")]
    assert waits[0].startswith("waiting for machines with room for 4 workers of 2 CPUs: 0 of 4 there")
    # One request for all of them: the autoscaler starts four before the first is there.
    assert any("0 of 4 there, 4 machines starting" in line for line in waits), waits
    assert last_line(output)["model"] == "customers@1"
    config = json.loads((tmp_path / "models/customers/1/config.json").read_text())
    assert config["training"]["workers"] == 4

    too_large = ("--set", "training.threads=4")
    code, output, errors = run(grown, "train", *train_arguments(source, tmp_path, *too_large))
    assert code == 2
    assert re.fullmatch(
        r"error: training\.threads: 1 worker of 4 CPUs does not fit: the cluster has room for 0, and its"
        r" autoscaler can start no machines for that; ask for fewer or smaller ones",
        errors.strip().splitlines()[-1],
    )
    too_many = ("--set", "training.workers=9")
    code, output, errors = run(grown, "train", *train_arguments(source, tmp_path, *too_many))
    assert code == 2
    assert (
        errors.strip().splitlines()[-1].startswith("error: training.workers: 9 workers of 1 CPU do not fit")
    )


def test_generation_asks_for_all_its_machines_at_once(grown: str, model_store: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(model_store, tmp_path / "store"))
    arguments = ("--model", "customers@1", "--rows", "40000", "--seed", "7", "--dataset", "out")
    code, output, errors = run(
        grown, "augment", *arguments, "--shard-rows", "4096", "--workers", "8", "--store", str(store)
    )
    assert code == 0, errors
    assert any("0 of 8 there, 4 machines starting" in line for line in output.splitlines()), output
    assert last_line(output)["dataset"] == "out@1"
    # Judged on the same machines; then a search asks for what it takes.
    code, output, errors = run(
        grown, "evaluate", "--dataset", "out", "--store", str(store), "--profile", "quick"
    )
    assert code in (0, 1), errors


def test_a_server_and_a_job_posted_to_it_start_from_zero(
    grown: str, model_store: Path, tmp_path: Path
) -> None:
    """The server's own machine is started first; the job begins on it, and its status tells how far it is."""
    store = Path(shutil.copytree(model_store, tmp_path / "store"))
    body = {"model": "customers", "rows": 20000, "dataset": "out", "seed": 7, "workers": 6}
    log = tmp_path / "serve.log"
    joined = {"RAY_ADDRESS": grown, **JOINED}
    with (
        serving(store, log, "--insecure-local", "--max-replicas=1", env=joined) as server,
        server.client() as client,
    ):
        job = client.post("/v1/jobs", json=body)
        assert job.status_code == 202, job.text
        said = set()

        def ended() -> dict[str, Any] | None:
            told: dict[str, Any] = client.get(f"/v1/jobs/{job.json()['id']}").json()
            said.add(told["message"] or "")
            return told if told["status"] in ("done", "failed") else None

        told = until(ended, seconds=300, what="the job's end")
    assert told["status"] == "done", told
    assert told["result"]["dataset"] == "out@1"
    assert any(line.startswith("generating: ") for line in said), said


def test_a_search_asks_for_its_places_at_once(grown: str, source: Path, tmp_path: Path) -> None:
    sets = [word for setting in TUNE for word in ("--set", setting)]
    code, output, errors = run(grown, "tune", *train_arguments(source, tmp_path, *sets))
    assert code == 0, errors
    assert "waiting for machines with room for 2 workers of 1 CPU: 0 of 2 there" in output


def test_the_older_autoscaler_is_recognised(source: Path, tmp_path: Path) -> None:
    with growing_cluster({"small": ({"CPU": 1}, 1)}, version=1) as address:
        too_many = ("--set", "training.threads=2")
        code, output, errors = run(address, "train", *train_arguments(source, tmp_path, *too_many))
        assert code == 2
        assert "its autoscaler can start no machines for that" in errors
        code, output, errors = run(address, "train", *train_arguments(source, tmp_path))
        assert code == 0, errors
        assert "waiting for machines with room for 1 worker of 1 CPU: 0 of 1 there" in output
