"""Trackers get the numbers of a run, are off by default, and never end it or keep it waiting.

The packages are stand-ins in a folder on the path, imported by the real process that talks to a tracker; with
MLflow 3.17.2 and W&B 0.31.0 the same was run by hand (docs/tuning.md).
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from processes import descendants, until
from synthmill.training import trackers
from synthmill.training.tracker_process import FAILED, FINISHED
from synthmill.training.trackers import Trackers, numbers

WRITES = """
import json, os
def told(*what):
    with open(os.environ["TOLD"], "a") as file:
        file.write(json.dumps(what) + "\\n")
print("packages print")
"""
MLFLOW = (
    WRITES
    + """
class Run:
    class info:
        run_id = "r"

class MlflowClient:
    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name):
        told("experiment", name)
        if os.environ.get("LOSES_A_RACE") and len(open(os.environ["TOLD"]).readlines()) == 1:
            raise RuntimeError("the experiment exists")
        return "7"

    def create_run(self, experiment, run_name):
        told("run", experiment, run_name)
        return Run

    def log_batch(self, run, params=(), metrics=()):
        for param in params:
            told("param", *param)
        for name, value, _, step in metrics:
            told("metric", name, value, step)

    def set_terminated(self, run, status):
        told("end", status)
"""
)
ENTITIES = """
def Param(*values):
    return values
Metric = Param
"""
WANDB = (
    WRITES
    + """
class Run:
    def define_metric(self, *names, step_metric):
        told("axis", step_metric)

    def log(self, values):
        told("log", values)

    def finish(self, exit_code):
        told("finish", exit_code)

def init(project, name, config, reinit):
    told("init", project, name, config)
    return Run()
"""
)
Packages = Callable[..., Callable[[], list[Any]]]


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    """Puts stand-ins on the path and asks for them; what they were told is read by what it returns."""

    def put(**modules: str) -> Callable[[], list[Any]]:
        for name, text in modules.items():
            folder = tmp_path / "packages" / name
            folder.mkdir(parents=True)
            (folder / "__init__.py").write_text(text + "\nfrom . import entities\n")
            (folder / "entities.py").write_text(ENTITIES)
        told = tmp_path / "told.jsonl"
        monkeypatch.syspath_prepend(str(tmp_path / "packages"))
        monkeypatch.setenv("TOLD", str(told))
        monkeypatch.setenv(trackers.VARIABLE, ",".join(modules))
        return lambda: [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []

    return put


def no_fault(line: str) -> None:
    raise AssertionError(line)


def test_there_are_none_unless_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(trackers.VARIABLE, raising=False)
    before = threading.active_count()
    found = Trackers(no_fault)
    run = found.run("adult", "1", {})
    run.log({"step": 1, "loss": 1.0})
    assert threading.active_count() == before
    found.close()


def test_mlflow_hears_the_configuration_the_numbers_and_the_end(packages: Packages) -> None:
    told = packages(mlflow=MLFLOW)
    found = Trackers(no_fault)
    run = found.run("adult", "run-1", {"model": {"name": "tvae"}, "columns": {"Größe (m)": "number"}})
    run.log({"step": 5, "elbo/codes": 0.5, "quality": {"score": 0.9}})
    run.log({"message": "hello"})
    run.log({"step": 6, "ks@n": 0.25, "preview": b"png"})
    run.end(FAILED)
    found.close(60)
    assert told() == [
        ["experiment", "adult"],
        ["run", "7", "run-1"],
        ["param", "model.name", "tvae"],
        ["param", "columns.Größe _m_", "number"],
        ["metric", "elbo/codes", 0.5, 5],
        ["metric", "quality/score", 0.9, 5],
        ["metric", "ks_at_n", 0.25, 6],
        ["end", FAILED],
    ]


def test_a_race_for_the_experiment_is_tried_again(
    packages: Packages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOSES_A_RACE", "1")
    told = packages(mlflow=MLFLOW)
    found = Trackers(no_fault)
    found.run("adult", "run-1", {}).end()
    found.close(60)
    assert told() == [["experiment", "adult"]] * 2 + [["run", "7", "run-1"], ["end", FINISHED]]


def test_wandb_hears_two_runs_and_one_that_nobody_ended(packages: Packages) -> None:
    told = packages(wandb=WANDB)
    found = Trackers(no_fault)
    first, second = found.run("adult", "1", {"a": 1}), found.run("adult", "2", {})
    second.log({"step": 9, "loss": 0.5})
    first.end()
    found.close(60)
    assert sorted(map(str, told())) == sorted(
        map(
            str,
            [
                ["init", "adult", "1", {"a": 1}],
                ["axis", "step"],
                ["init", "adult", "2", {}],
                ["axis", "step"],
                ["log", {"step": 9, "loss": 0.5}],
                ["finish", 0],
                ["finish", 1],
            ],
        )
    )


def test_a_tracker_that_fails_is_left_out_and_said_once_for_all_its_runs(packages: Packages) -> None:
    broken = MLFLOW.replace(
        "def log_batch(", "def log_batch(*_, **__): raise OSError('no route\\nto host')\n    def _("
    )
    told = packages(mlflow=broken, wandb=WANDB)
    said: list[str] = []
    found = Trackers(said.append)
    runs = [found.run("adult", str(number), {}) for number in range(3)]
    for run in runs:
        run.log({"step": 1, "loss": 0.5})
    found.close(60)
    runs[0].log({"step": 2, "loss": 0.5})
    found.close(60)
    assert said == ["warning: mlflow is left out from here on: no route to host"]
    # The other one has heard everything.
    assert [entry[0] for entry in told()].count("log") == 3


@pytest.mark.parametrize(
    "where",
    [
        "import time; time.sleep(10**6)",
        MLFLOW + "\nimport time\nMlflowClient.create_run = lambda *_, **__: time.sleep(10**6)",
    ],
)
def test_a_tracker_that_hangs_keeps_nobody_waiting_and_leaves_no_process(
    packages: Packages, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    packages(mlflow=where)
    said: list[str] = []
    before = set(descendants(os.getpid()))
    found = Trackers(said.append)
    run = found.run("adult", "1", {"a": "b" * 200_000})
    for step in range(10_000):
        # More than a pipe holds.
        run.log({"step": step, "loss": 0.5})
    assert said == []
    monkeypatch.setattr(trackers, "MOST_SECONDS", 0.0)
    found.close(0)
    run.log({"step": 0, "loss": 0.5})
    found.close(60)
    assert said == ["warning: mlflow is left out from here on: it did not answer within 0 s"]
    until(lambda: set(descendants(os.getpid())) <= before, what="the end of its process")


def test_one_that_hangs_during_a_long_run_is_left_out_before_its_end(
    packages: Packages, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages(mlflow="import time; time.sleep(10**6)")
    monkeypatch.setattr(trackers, "MOST_SECONDS", 0.0)
    said: list[str] = []
    found = Trackers(said.append)
    run = found.run("adult", "1", {})
    until(lambda: run.log({"step": 1, "loss": 0.5}) or said, what="the warning")
    assert said == ["warning: mlflow is left out from here on: it did not answer within 0 s"]


def test_a_killed_tracker_process_is_a_fault_like_others(packages: Packages) -> None:
    packages(mlflow="import os; os.kill(os.getpid(), 9)")
    said: list[str] = []
    found = Trackers(said.append)
    found.run("adult", "1", {})
    found.close(60)
    assert said == ["warning: mlflow is left out from here on: its process ended"]


def test_a_tracker_that_is_unknown_or_not_installed_is_left_out(
    packages: Packages, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages(wandb="import no_such_package_at_all")
    said: list[str] = []
    monkeypatch.setenv(trackers.VARIABLE, "mlfow, wandb, wandb")
    found = Trackers(said.append)
    found.run("adult", "1", {}).log({"step": 1, "loss": 1.0})
    found.close(60)
    assert said == [
        "warning: no tracker is named 'mlfow'; SYNTHMILL_TRACKERS takes mlflow, wandb",
        "warning: wandb is left out from here on: No module named 'no_such_package_at_all'",
    ]


def test_its_package_may_be_in_an_environment_of_its_own(
    packages: Packages, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One with the package alone, and without this one."""
    told = packages(wandb=WANDB)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path / "packages"} exec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(tmp_path / "packages")])
    monkeypatch.setenv(trackers.PYTHON, str(python))
    found = Trackers(no_fault)
    found.run("adult", "1", {}).end()
    found.close(60)
    assert [entry[0] for entry in told()] == ["init", "axis", "finish"]
    said: list[str] = []
    monkeypatch.setenv(trackers.PYTHON, "/no/such/python")
    found = Trackers(said.append)
    found.run("adult", "1", {}).end()
    found.close(60)
    assert said == [
        "warning: wandb is left out from here on: SYNTHMILL_TRACKER_PYTHON names no program: /no/such/python"
    ]


def test_only_numbers_of_a_step_are_numbers() -> None:
    assert numbers({"step": 3, "precision": "fp32", "done": True, "quality": {"score": 1}}) == {
        "quality/score": 1.0
    }
    assert numbers({"message": "a line"}) == {}
