"""The process that talks to one experiment tracker for another process, so that whatever the tracker's
package does (imports, threads, retries, work at exit) happens here, and ends when this process is killed.

Requests are lines of JSON on standard input, each answered by one on standard output:

    {"run": "3", "open": {"experiment", "name", "config"}}     {}
    {"run": "3", "records": [{"step": 5, "loss": 0.5}, ...]}   {}
    {"run": "3", "end": "FINISHED"}                            {"fault": "no route to host"}
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"
"""How a run ended, as MLflow calls it."""
ATTEMPTS = 3
"""At opening a run: two processes that make one experiment, or one database, disturb each other."""
BATCH = 100
"""Parameters that MLflow takes in one request; of metrics it takes ten times as many."""
MLFLOW_DEFAULTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""MLflow's own are 7 attempts of two minutes each."""
_REFUSED = re.compile(r"[^\w\-. /:]")
"""What MLflow does not take in names."""


class Tracker(Protocol):
    """One run at a tracker."""

    def send(self, records: Sequence[Mapping[str, float]]) -> None:
        """Take numbers by name, `step` among them; the oldest first."""

    def close(self, status: str) -> None:
        """Put everything where it belongs; the run came to this end."""


class Mlflow:
    """One MLflow run."""

    def __init__(self, experiment: str, name: str, config: Mapping[str, Any]) -> None:
        for variable, value in MLFLOW_DEFAULTS.items():
            os.environ.setdefault(variable, value)
        import mlflow

        self._client = mlflow.MlflowClient()
        found = self._client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self._client.create_experiment(experiment)
        self._run: str = self._client.create_run(number, run_name=name).info.run_id
        parameter = mlflow.entities.Param
        given = [parameter(_key(key), str(value)[:500]) for key, value in config.items()]
        for first in range(0, len(given), BATCH):
            self._client.log_batch(self._run, params=given[first : first + BATCH])

    def send(self, records: Sequence[Mapping[str, float]]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [
            Metric(_key(key), value, now, int(record["step"]))
            for record in records
            for key, value in record.items()
            if key != "step"
        ]
        for first in range(0, len(metrics), 10 * BATCH):
            self._client.log_batch(self._run, metrics=metrics[first : first + 10 * BATCH])

    def close(self, status: str) -> None:
        self._client.set_terminated(self._run, status)


class Wandb:
    """One run of Weights & Biases."""

    def __init__(self, experiment: str, name: str, config: Mapping[str, Any]) -> None:
        import wandb

        self._run = wandb.init(project=experiment, name=name, config=dict(config), reinit="create_new")
        # Its own steps must never fall, as ours do where a trial is trained again for longer.
        self._run.define_metric("*", step_metric="step")

    def send(self, records: Sequence[Mapping[str, float]]) -> None:
        for record in records:
            self._run.log(dict(record))

    def close(self, status: str) -> None:
        self._run.finish(exit_code=0 if status == FINISHED else 1)


KNOWN: dict[str, Callable[[str, str, Mapping[str, Any]], Tracker]] = {"mlflow": Mlflow, "wandb": Wandb}


class Desk:
    """Answers the requests about one tracker's runs."""

    def __init__(self, make: Callable[[str, str, Mapping[str, Any]], Tracker]) -> None:
        self._make = make
        self._runs: dict[str, Tracker] = {}

    def serve(self, request: Mapping[str, Any]) -> None:
        """Raises whatever the tracker raises."""
        run = request["run"]
        if "open" in request:
            self._runs[run] = self._opened(**request["open"])
        elif "records" in request:
            self._runs[run].send(request["records"])
        else:
            self._runs.pop(run).close(request["end"])

    def _opened(self, experiment: str, name: str, config: Mapping[str, Any]) -> Tracker:
        for attempt in range(1, ATTEMPTS):
            try:
                return self._make(experiment, name, config)
            except ImportError:
                raise  # Not installed: another attempt is no use.
            except Exception:
                time.sleep(0.5 * attempt)
        return self._make(experiment, name, config)

    def close(self) -> None:
        """End what is open: nobody is left to say how it went on."""
        for tracker in self._runs.values():
            tracker.close(KILLED)


def main(name: str) -> None:
    """Serve until standard input ends; the first fault ends it too."""
    answers = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    # Packages print; what they say must not come between the answers, nor on a person's terminal.
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    desk = Desk(KNOWN[name])
    try:
        for line in sys.stdin:
            desk.serve(json.loads(line))
            answers.write("{}\n")
            answers.flush()
        desk.close()
    except Exception as fault:
        line = " ".join(str(fault).split())[:200] or type(fault).__name__
        answers.write(json.dumps({"fault": line}) + "\n")
        answers.flush()
    # At once: what packages have registered for the end may wait for servers that do not answer.
    os._exit(0)


def _key(name: str) -> str:
    """A name that MLflow takes: a column's may have any character."""
    return _REFUSED.sub("_", name.replace("@", "_at_"))[:250]


if __name__ == "__main__":
    main(sys.argv[1])
