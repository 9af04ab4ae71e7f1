"""Trackers get the numbers of a run, are off by default, and never end it."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from synthmill.training import trackers
from synthmill.training.trackers import Tolerant, numbers, trackers_of


class Client:
    """What MLflow's client was told."""

    told: list[tuple[Any, ...]]

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return "7"

    def create_run(self, experiment: str, run_name: str) -> Any:
        self.told.append(("run", experiment, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id="r"))

    def log_param(self, run: str, name: str, value: str) -> None:
        self.told.append(("param", name, value))

    def log_metric(self, run: str, name: str, value: float, step: int) -> None:
        self.told.append(("metric", name, value, step))

    def set_terminated(self, run: str) -> None:
        self.told.append(("end",))


def test_there_are_none_unless_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(trackers.VARIABLE, raising=False)
    assert trackers_of("adult", run_name="1", config={}) == ()


def test_mlflow_hears_the_configuration_and_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[Any, ...]] = []
    Client.told = told
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=Client))
    monkeypatch.setenv(trackers.VARIABLE, "mlflow")
    [tracker] = trackers_of("adult", run_name="run-1", config={"model": {"name": "tvae"}})
    tracker.log({"step": 5, "elbo/codes": 0.5, "quality": {"score": 0.9}})
    tracker.log({"message": "hello"})
    tracker.close()
    assert told == [
        ("run", "7", "run-1"),
        ("param", "model.name", "tvae"),
        ("metric", "elbo/codes", 0.5, 5),
        ("metric", "quality/score", 0.9, 5),
        ("end",),
    ]


def test_a_dead_tracker_is_left_out_and_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    class Dead:
        def log(self, record: object) -> None:
            raise ConnectionError("no route\nto host")

        def close(self) -> None:
            raise AssertionError("is not asked any more")

    tracker = Tolerant("mlflow", Dead)
    for step in range(3):
        tracker.log({"step": step})
    tracker.close()
    assert capsys.readouterr().err == "warning: mlflow is left out from here on: no route to host\n"


def test_a_tracker_that_is_unknown_or_not_installed_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(trackers.VARIABLE, "mlfow, wandb")
    monkeypatch.setitem(sys.modules, "wandb", None)
    for tracker in trackers_of("adult", run_name="1", config={}):
        tracker.log({"step": 1, "loss": 1.0})
    said = capsys.readouterr().err
    assert "mlfow is left out" in said
    assert "wandb is left out" in said


def test_only_numbers_of_a_step_are_numbers() -> None:
    assert numbers({"step": 3, "precision": "fp32", "done": True, "quality": {"score": 1}}) == {
        "quality/score": 1.0
    }
    assert numbers({"message": "a line"}) == {}
