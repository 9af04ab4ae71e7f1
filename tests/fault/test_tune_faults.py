"""Killed drivers and workers of a search: no finished trial is lost, none is run twice."""

import json
import signal
from pathlib import Path

import pytest

from fault.conftest import train_arguments
from jobs import last_line
from processes import kill, kill_tree, start_job, titled, until
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
