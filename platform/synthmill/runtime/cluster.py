"""Joining Ray: an embedded one on this machine, or the cluster that a job was submitted to."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray._private.state import available_resources_per_node
from ray.exceptions import RayError

import synthmill
from synthmill import threads
from synthmill.errors import ResourceError, SynthmillError
from synthmill.runtime.progress import say
from synthmill.storage.folder import Folder

FORWARDED = (
    "AWS_",
    "SYNTHMILL_",
    "MLFLOW_",
    "WANDB_",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "no_proxy",
    "NO_PROXY",
)
"""Environment variables that workers need as the driver has them. They travel as arguments, not in the
runtime environment, because that one is shown on the dashboard and AWS_ holds keys."""

T = TypeVar("T")

SOURCE_ROOT = Path(next(iter(synthmill.__path__))).parent


QUIET_ALONE = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
    "RAY_worker_niceness": "0",
}
"""Ray on this machine alone, without a dashboard: nobody reads its metrics and no node is taken away, and
what gathers them takes its time from training. Workers get the processor as the command that started them
would, not after all other processes."""


@contextmanager
def session() -> Iterator[None]:
    """A connection to Ray for the time of one job; one that was there before is used and left alone.

    RAY_ADDRESS (set in submitted jobs) names the cluster; without it Ray starts on this machine. The package
    travels to workers that do not have it installed.
    """
    if ray.is_initialized():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    _connect()
    if threading.current_thread() is threading.main_thread():
        # Ray puts its own in place, which ends the process without our clean-up.
        signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        ray.shutdown()


def _connect() -> None:
    # Before Ray's processes start: they inherit it.
    threads.bound_spin()
    quiet = {
        "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
    }
    for key, value in (
        *quiet.items(),
        ("RAY_USAGE_STATS_ENABLED", "0"),
        ("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"),
    ):
        os.environ.setdefault(key, value)
    address = os.environ.get("RAY_ADDRESS")
    for key, value in ({} if address else QUIET_ALONE).items():
        os.environ.setdefault(key, value)
    options: dict[str, Any] = {
        "log_to_driver": bool(os.environ.get("SYNTHMILL_WORKER_LOGS")),
        "logging_level": "ERROR",
    }
    try:
        if address:
            spin = {"GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", threads.SPIN_TURNS)}
            package = [str(SOURCE_ROOT / "synthmill")]
            ray.init(address=address, runtime_env={"py_modules": package, "env_vars": spin}, **options)
        else:
            with _package_on_path(), _without_helpers(logs=options["log_to_driver"]):
                ray.init(address="local", include_dashboard=False, **options)
            _hide_token()
    except (RayError, ConnectionError, RuntimeError, ValueError) as fault:
        line = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
        raise SynthmillError(f"can't join Ray at {address or 'this machine'}: {line}") from fault


@contextmanager
def session_beside(prepare: Callable[[], T]) -> Iterator[Future[T]]:
    """A session that starts while `prepare` works in a thread of its own; yields its result to be.

    The thread is not Ray's: the kernel ends Ray's processes with the thread that started them.
    """
    with ThreadPoolExecutor(1) as pool:
        preparing = pool.submit(prepare)
        if "RAY_ADDRESS" in os.environ and not ray.is_initialized():
            # A cluster that others share is asked for nothing before the job is known to be right.
            preparing.result()
        with session():
            yield preparing


@contextmanager
def _package_on_path() -> Iterator[None]:
    """Ray's processes find the package where this one did. Not by a runtime environment: Ray would not give
    the job the processes that it has ready, but start new ones."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(SOURCE_ROOT), *filter(None, [before])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@contextmanager
def _without_helpers(*, logs: bool) -> Iterator[None]:
    """Start Ray without its API server, its autoscaler and, unless logs are wanted, its log monitor.

    Nobody talks to them in a cluster of one command, and together they cost half of what starting takes: 10.1
    CPU seconds until a first task has run became 5.2. Ray has no option for it; a version that is built
    otherwise starts as it does by itself.
    """
    from ray._private.node import Node

    unwanted = ["start_monitor", "start_api_server", *([] if logs else ["start_log_monitor"])]
    kept = {name: getattr(Node, name) for name in unwanted if hasattr(Node, name)}

    def nothing(self: Any, **options: Any) -> None:
        # What start_api_server sets besides.
        self._webui_url = None

    for name in kept:
        setattr(Node, name, nothing)
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(Node, name, method)


def _hide_token() -> None:
    """Ray writes the token of a cluster on this machine to a file that everybody may read, and with it run
    code as this user."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    with contextlib.suppress(OSError):
        if token.stat().st_mode & 0o077:
            token.chmod(0o600)


def require(*, workers: int, cpus: float = 1, gpus: float = 0, field: str) -> None:
    """Refuse at once what the cluster can't hold now and could never hold by scaling up: a worker does not
    span machines.

    Raises:
        ResourceError: names `field`, what was asked for and what there is.
    """
    if _autoscales():
        return
    asked = {resource: each for resource, each in (("CPU", cpus), ("GPU", gpus)) if each}
    have = ray.cluster_resources()
    for resource, each in asked.items():
        if each * workers > have.get(resource, 0) + 1e-9:
            raise ResourceError(
                f"{_needs(workers, resource, each)} but the cluster has {have.get(resource, 0):g};"
                f" {_fix(have, asked)}",
                field=field,
            )
    fit = room(asked)
    if fit < workers:
        each_asks = " and ".join(f"{each:g} {resource}s" for resource, each in asked.items())
        raise ResourceError(
            f"{workers} workers of {each_asks} do not fit the cluster's machines, which hold {fit}; ask for"
            " fewer or smaller ones",
            field=field,
        )


def _needs(workers: int, resource: str, each: float) -> str:
    if workers == 1:
        return f"one worker needs {each:g} {resource}s" if each > 1 else f"a {resource} is needed"
    return f"{workers} workers need {each * workers:g} {resource}s"


def _fix(have: Mapping[str, float], asked: Mapping[str, float]) -> str:
    """How many such workers, or how large ones, would do."""
    most = min(int(have.get(resource, 0) // each) for resource, each in asked.items())
    if most >= 1:
        return f"use at most {most}"
    short = next(resource for resource, each in asked.items() if have.get(resource, 0) < each)
    if have.get(short, 0) >= 1:
        return f"use at most {have[short]:g} a worker"
    return "choose cpu or auto" if short == "GPU" else "no machine of it takes tasks"


def room(asked: Mapping[str, float]) -> int:
    """How many workers that each ask for so much the cluster's machines hold."""
    return _room([node["Resources"] for node in ray.nodes() if node["Alive"]], asked)


def _room(machines: list[Mapping[str, float]], asked: Mapping[str, float]) -> int:
    """How many workers that each ask for so much fit, whole, on the machines."""
    return sum(
        min(int((machine.get(resource, 0) + 1e-9) // each) for resource, each in asked.items())
        for machine in machines
    )


def warn_of_local(store: Folder) -> None:
    """Say what a folder must be where workers run on several machines; only its owner knows whether it is."""
    machines = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    if store.local_path is not None and len(machines) > 1:
        say(
            f"{store.uri} is a folder: all {len(machines)} machines must see the same one there; else use"
            " s3://"
        )


def total_cpus() -> int:
    """CPUs of the whole cluster, at least 1."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def cpus_each(workers: int) -> int:
    """Whole CPUs that each of so many equal workers can have at once, now; at least 1."""
    free = sorted((node.get("CPU", 0) for node in available_resources_per_node().values()), reverse=True)
    nodes = [int(cpus) for cpus in free if cpus >= 1][:workers]
    if not nodes:
        return 1
    per_node = -(-workers // len(nodes))
    return max(1, min(nodes) // per_node)


def threads_here() -> int:
    """Torch threads for this worker: the CPUs Ray gave it, but no more than the machine has."""
    given = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
    return max(1, min(int(given), os.cpu_count() or 1))


def _autoscales() -> bool:
    return Path("~/ray_bootstrap_config.yaml").expanduser().exists() and "RAY_ADDRESS" in os.environ


def environment() -> dict[str, str]:
    """What a worker must have in its environment to reach what the driver reaches."""
    return {key: value for key, value in os.environ.items() if key.startswith(FORWARDED)}


def adopt(env: Mapping[str, str]) -> None:
    """Called first in a worker, with the driver's `environment()`."""
    os.environ.update(env)
    sys.stdout.flush()
