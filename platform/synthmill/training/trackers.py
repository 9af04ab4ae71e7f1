"""Experiment trackers as reporters: MLflow and Weights & Biases, where SYNTHMILL_TRACKERS names them.

Off by default. What a tracker does wrong costs its records, never the run: the first fault is said, and the
tracker hears nothing more. MLflow needs a server or `sqlite:///FILE` in MLFLOW_TRACKING_URI (from 3.17 on it
refuses its file store); W&B needs an account, or WANDB_MODE=offline.
"""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from synthmill.training.reporter import Record

VARIABLE = "SYNTHMILL_TRACKERS"


class Tracker(Protocol):
    """A reporter that must be told of the end."""

    def log(self, record: Record) -> None:
        """Take one record."""

    def close(self) -> None:
        """Put everything where it belongs."""


class Mlflow:
    """One MLflow run."""

    def __init__(self, experiment: str, run_name: str, config: Mapping[str, Any]) -> None:
        import mlflow

        self._client = mlflow.MlflowClient()
        found = self._client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self._client.create_experiment(experiment)
        # The client, not the module's current run: trials of one process must not meet in one run.
        self._run: str = self._client.create_run(number, run_name=run_name).info.run_id
        for name, value in _flat(config).items():
            self._client.log_param(self._run, name, str(value)[:500])

    def log(self, record: Record) -> None:
        for name, value in numbers(record).items():
            self._client.log_metric(self._run, name.replace("@", "_at_"), value, step=int(record["step"]))

    def close(self) -> None:
        self._client.set_terminated(self._run)


class Wandb:
    """One run of Weights & Biases."""

    def __init__(self, experiment: str, run_name: str, config: Mapping[str, Any]) -> None:
        import wandb

        self._run = wandb.init(project=experiment, name=run_name, config=_flat(config), reinit="create_new")

    def log(self, record: Record) -> None:
        found = numbers(record)
        if found:
            self._run.log(found, step=int(record["step"]))

    def close(self) -> None:
        self._run.finish()


KNOWN: dict[str, Callable[[str, str, Mapping[str, Any]], Tracker]] = {"mlflow": Mlflow, "wandb": Wandb}


class Tolerant:
    """A tracker whose faults end nothing but itself."""

    def __init__(self, name: str, make: Callable[[], Tracker]) -> None:
        self._name = name
        self._tracker: Tracker | None = None
        self._try(lambda: self._begin(make))

    def _begin(self, make: Callable[[], Tracker]) -> None:
        self._tracker = make()

    def log(self, record: Record) -> None:
        """Pass a record on, as long as the tracker takes them."""
        if self._tracker is not None:
            tracker = self._tracker
            self._try(lambda: tracker.log(record))

    def close(self) -> None:
        """End the tracker's run."""
        if self._tracker is not None:
            tracker = self._tracker
            self._try(tracker.close)

    def _try(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as fault:
            self._tracker = None
            line = " ".join(str(fault).split())[:200] or type(fault).__name__
            sys.stderr.write(f"warning: {self._name} is left out from here on: {line}\n")
            sys.stderr.flush()


def trackers_of(experiment: str, *, run_name: str, config: Mapping[str, Any]) -> tuple[Tolerant, ...]:
    """The trackers that SYNTHMILL_TRACKERS asks for (`mlflow`, `wandb`, or both with a comma)."""
    asked = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    return tuple(Tolerant(name, _maker(name, experiment, run_name, config)) for name in asked)


def _maker(name: str, experiment: str, run_name: str, config: Mapping[str, Any]) -> Callable[[], Tracker]:
    def make() -> Tracker:
        if name not in KNOWN:
            raise ValueError(f"no tracker of that name; {VARIABLE} takes {', '.join(KNOWN)}")
        return KNOWN[name](experiment, run_name, config)

    return make


def numbers(record: Record) -> dict[str, float]:
    """The numbers of a record with a step, nested ones as `quality/score`; nothing else of it."""
    if "step" not in record:
        return {}
    flat = _flat({key: value for key, value in record.items() if key != "step"}, "/")
    return {
        key: float(value)
        for key, value in flat.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _flat(values: Mapping[str, Any], between: str = ".", prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= _flat(value, between, f"{name}{between}") if isinstance(value, Mapping) else {name: value}
    return found
