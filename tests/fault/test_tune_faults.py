"""Killed drivers and workers of a search: no finished trial is lost, none is run twice."""

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from fault.conftest import train_arguments
from jobs import last_line
from processes import ROOT, kill, kill_tree, start_job, titled, until
from s3 import S3Server
from synthmill.storage.folder import Folder
from synthmill.tuning.journal import read_events, replay
from synthmill.tuning.record import Record

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

TUNE = (
    "tune.max_trials=6",
    "tune.sample_rows=300",
    "tune.confirm_seeds=2",
    "tune.objective=tabular.pair_gap",
    "tune.constraints=none",
    "training.max_steps=300",
    "training.max_epochs=100000",
    "training.checkpoint_seconds=0.2",
)


def arguments(source: Path, store: str, *more: str) -> list[str]:
    words = [word for setting in (*TUNE, *more) for word in ("--set", setting)]
    return train_arguments(source, store, *words)


def folder_of(store: Path) -> Path | None:
    return next(iter(store.glob("tunes/*/1")), None)


def record(store: Path) -> Record:
    folder = folder_of(store)
    return replay(read_events(Folder(folder))) if folder and (folder / "events").is_dir() else Record()


def ended(store: Path) -> list[int]:
    return [number for number, trial in record(store).trials.items() if trial.state != "running"]


def points(store: Path) -> list[tuple[int, str]]:
    return [(n, json.dumps(t.point)) for n, t in sorted(record(store).trials.items()) if t.of is None]


def test_a_killed_driver_goes_on_with_the_same_command(source: Path, tmp_path: Path) -> None:
    """One at a time, so that the search is the one that nothing disturbed."""
    whole = start_job("tune", *arguments(source, str(tmp_path / "whole"), "tune.concurrency=1"))
    _, errors = whole.communicate(timeout=400)
    assert whole.returncode == 0, errors
    store = tmp_path / "killed"
    job = start_job("tune", *arguments(source, str(store), "tune.concurrency=1"))
    until(lambda: len(ended(store)) >= 2, what="two finished trials")
    kill_tree(job)
    before = ended(store)
    again = start_job("tune", *arguments(source, str(store), "tune.concurrency=1"))
    output, errors = again.communicate(timeout=400)
    assert again.returncode == 0, errors
    assert f"going on with a search of {len(before)} finished trials" in output
    assert points(store) == points(tmp_path / "whole")
    events = read_events(Folder(folder_of(store)))
    began = [event["number"] for event in events if event["event"] == "trial"]
    done = [e["number"] for e in events if e["event"] == "score" and e["state"] != "running"]
    assert len(began) == len(set(began))
    assert sorted(done) == sorted(set(done)) == sorted(ended(store))
    assert last_line(output)["model"].startswith("customers@")


def test_a_killed_worker_costs_a_trial_nothing_but_time(source: Path, tmp_path: Path) -> None:
    job = start_job("tune", *arguments(source, str(tmp_path), "tune.concurrency=1"))
    until(lambda: record(tmp_path).trials, what="a trial")
    until(lambda: titled(job.pid, "ImplicitFunc"), what="its process")
    for worker in titled(job.pid, "ImplicitFunc"):
        kill(worker)
    output, errors = job.communicate(timeout=400)
    assert job.returncode == 0, errors
    assert {trial.state for trial in record(tmp_path).trials.values()} <= {"complete", "stopped"}, [
        t.reason for t in record(tmp_path).trials.values()
    ]
    assert last_line(output)["trials"] == 6


def test_ctrl_c_publishes_the_best_so_far(source: Path, tmp_path: Path, foreground: None) -> None:
    job = start_job("tune", *arguments(source, str(tmp_path), "tune.max_trials=1000"))
    until(lambda: record(tmp_path).published, what="a first model")
    job.send_signal(signal.SIGINT)
    output, errors = job.communicate(timeout=120)
    assert job.returncode == 130, errors
    assert last_line(output)["status"] == "interrupted"
    assert last_line(output)["model"].startswith("customers@")
    assert record(tmp_path).finished is None


def test_a_search_in_s3_goes_on_there(source: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    store = s3.new_uri()
    few = ("tune.max_trials=2", "tune.confirm_share=0")
    job = start_job("tune", *arguments(source, store, *few), env=s3.environment)
    output, errors = job.communicate(timeout=400)
    assert job.returncode == 0, errors
    first = last_line(output)
    more = start_job("tune", *arguments(source, store, "tune.max_trials=3", few[1]), env=s3.environment)
    output, errors = more.communicate(timeout=400)
    assert more.returncode == 0, errors
    assert last_line(output)["search"] == first["search"]
    assert "going on with a search of 2 finished trials" in output


def resident_bytes(pid: int) -> int:
    """Memory of a process; 0 once it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def test_a_trial_that_fills_the_memory_is_killed_tried_again_and_given_up(
    source: Path, tmp_path: Path
) -> None:
    """What a kernel or a container does to the largest process, done here at 1.2 GB: SIGKILL."""
    space = (
        "{compress_dims: [[32], [12000, 12000]], embedding_dim: null, learning_rate: null, l2scale: null,"
        " training.global_batch_rows: null}"
    )
    few = ("tune.max_trials=7", "tune.max_failures=1", "tune.confirm_share=0", "training.max_steps=60")
    job = start_job(
        "tune", *arguments(source, str(tmp_path), *few, "tune.portfolio=false", f"tune.space={space}")
    )
    killed: set[int] = set()
    while job.poll() is None:
        for process in titled(job.pid, "ImplicitFunc"):
            if process not in killed and resident_bytes(process) > 1_200_000_000:
                kill(process)
                killed.add(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            job.wait(timeout=0.05)
    output, errors = job.communicate()
    assert job.returncode == 0, errors
    assert "Traceback" not in output + errors
    wide = [trial for trial in record(tmp_path).searched if trial.point["tvae.compress_dims"] != [32]]
    assert wide
    assert {trial.state for trial in wide} == {"failed"}
    assert all("its process was killed, as systems do when memory runs out" in t.reason for t in wide)
    assert len(killed) == 2 * len(wide)
    others = [trial for trial in record(tmp_path).searched if trial not in wide]
    assert {trial.state for trial in others} <= {"complete", "stopped"}, [t.reason for t in others]
    assert last_line(output)["trials"] == 7


def test_a_lost_node_returns_its_trials_to_the_queue(source: Path, tmp_path: Path) -> None:
    """Two nodes of a trial each; one of them is lost in the middle of its trial."""
    import ray
    from ray.cluster_utils import Cluster

    path = f"{ROOT / 'platform'}:{ROOT / 'tests'}"
    cluster = Cluster(
        initialize_head=True, connect=False, head_node_args={"num_cpus": 0, "env_vars": {"PYTHONPATH": path}}
    )
    try:
        doomed = cluster.add_node(num_cpus=1)
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        job = start_job(
            "tune",
            *arguments(source, str(tmp_path), "tune.fidelity=none", "tune.confirm_share=0"),
            env={"RAY_ADDRESS": cluster.address},
        )
        # Both nodes have one.
        until(lambda: len(under_way(tmp_path)) == 2, what="two trials with checkpoints")
        cluster.remove_node(doomed, allow_graceful=False)
        output, errors = job.communicate(timeout=400)
        assert job.returncode == 0, errors
        # Which of two reasons Ray gives depends on whether it has missed the process or the node first.
        [lost] = [line for line in output.splitlines() if "goes on in another (1 of 2 times)" in line]
        assert "lost with its machine" in lost
        trials = record(tmp_path).searched
        assert {trial.state for trial in trials} == {"complete"}, [trial.reason for trial in trials]
        assert len(trials) == last_line(output)["trials"] == 6
    finally:
        ray.shutdown()
        cluster.shutdown()


def under_way(store: Path) -> set[str]:
    """Trials with a checkpoint that have not ended."""
    there = store.glob("tunes/*/1/trials/*/checkpoints/*/*/manifest.json")
    return {path.parts[-5] for path in there if int(path.parts[-5]) not in ended(store)}


def test_a_trial_of_several_processes_goes_on_and_is_what_train_makes(source: Path, tmp_path: Path) -> None:
    """The trial's own process is lost while its workers train: they must leave their places to others."""
    group = ("training.workers=2", "tune.max_trials=2", "tune.confirm_share=0", "tune.fidelity=none")
    steps = ("training.max_steps=600",)
    job = start_job("tune", *arguments(source, str(tmp_path), *group, *steps))
    until(lambda: under_way(tmp_path), what="a checkpoint")
    for process in titled(job.pid, "ImplicitFunc"):
        kill(process)
    _, errors = job.communicate(timeout=400)
    assert job.returncode == 0, errors
    trials = record(tmp_path).searched
    assert {trial.state for trial in trials} == {"complete"}, [trial.reason for trial in trials]
    config = tmp_path / "models/customers/1/config.json"
    recipe = tmp_path / "again.yaml"
    recipe.write_text(json.dumps(json.loads(config.read_text())["recipe"]))
    again = start_job("train", str(recipe), "--store", str(tmp_path / "again"))
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    found = [
        (store / "models/customers/1/weights.safetensors").read_bytes()
        for store in (tmp_path, tmp_path / "again")
    ]
    assert found[0] == found[1]
