"""Joining Ray: an embedded one on this machine, or the cluster that a job was submitted to."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import ray
from ray._private.state import available_resources_per_node
from ray._private.state import state as cluster_state
from ray.exceptions import RayError

import synthmill
from synthmill import threads
from synthmill.errors import ResourceError, SynthmillError
from synthmill.runtime.patience import start_patiently
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

SOURCE_ROOT = Path(next(iter(synthmill.__path__))).parent
T = TypeVar("T")

ANYWHERE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray Train would replace `print` in its workers, to write the lines to a log of its own.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    # Relative paths of a recipe mean the folder that the command was started in.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Seconds between two looks of Ray Train's controller at its workers; a run ends at one of them.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
    # A process that has no GPU of Ray's keeps the CUDA_VISIBLE_DEVICES that it inherits.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Environment variables of Ray wherever it runs; what the user set stays."""
ALONE = {
    # Without a dashboard nobody reads metrics and events, and gathering them takes time from training: 8.8%
    # of a core in all (docs/log.md).
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
    # On a machine that is busy, processes take longer to start than Ray's 60 and 30 s, and are started anew.
    "RAY_worker_register_timeout_seconds": "180",
    "RAY_agent_register_timeout_ms": "180000",
    # This machine is no spot instance: nothing takes it away.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # Ray's 15 would let every other process of the machine go before a worker.
    "RAY_worker_niceness": "0",
}
"""Further ones of Ray on this machine alone."""


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
    address = os.environ.get("RAY_ADDRESS")
    for key, value in {**ANYWHERE, **({} if address else ALONE)}.items():
        os.environ.setdefault(key, value)
    options: dict[str, Any] = {
        "log_to_driver": bool(os.environ.get("SYNTHMILL_WORKER_LOGS")),
        "logging_level": "ERROR",
    }
    try:
        if address:
            # The cluster's processes run already, and its nodes may lack the package.
            spin = {"GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", threads.SPIN_TURNS)}
            package = [str(SOURCE_ROOT / "synthmill")]
            joined = ray.init(
                address=address, runtime_env={"py_modules": package, "env_vars": spin}, **options
            )
            if url := dashboard_link(joined.dashboard_url, ray.get_runtime_context().get_job_id()):
                say(url)
        else:
            with _package_on_path(), _without_helpers(logs=options["log_to_driver"]):
                start_patiently(lambda: ray.init(address="local", include_dashboard=False, **options))
            _hide_token()
    except (RayError, ConnectionError, RuntimeError, ValueError) as fault:
        line = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
        raise SynthmillError(f"can't join Ray at {address or 'this machine'}: {line}") from fault


def dashboard_link(address: str | None, job: str) -> str | None:
    """The line that says where a job can be watched; None: the cluster has no dashboard."""
    return f"dashboard: http://{address}/#/jobs/{job}" if address else None


@contextmanager
def session_beside(prepare: Callable[[], T]) -> Iterator[Future[T]]:
    """A session that starts while `prepare` works in a thread of its own; yields its result to be.

    The thread is not Ray's: the kernel ends Ray's processes with the thread that started them.
    """
    # `prepare` may load torch, which reads it once.
    threads.bound_spin()
    with ThreadPoolExecutor(1) as pool:
        preparing = pool.submit(prepare)
        if "RAY_ADDRESS" in os.environ and not ray.is_initialized():
            # A cluster that others share does no work for a job that may turn out to be wrong.
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
    """Start Ray without its API server, its autoscaler and, unless logs are wanted, its log monitor, and its
    agent without a web server.

    Nobody talks to them in a cluster of one command. The first three cost half of what starting takes (10.1
    CPU seconds until a first task has run became 5.2), and the node waits for the agent's web server (3.8
    seconds until a first task instead of 7.4). Ray has no option for it; a version that is built otherwise
    starts as it does by itself.
    """
    from ray._private import utils
    from ray._private.node import Node

    def nothing(self: Any, **options: Any) -> None:
        # What start_api_server sets besides.
        self._webui_url = None

    def absent() -> ImportError:
        # What Ray sees where it was installed without its dashboard: its agent then starts as "minimal".
        return ImportError("not needed")

    unwanted = ["start_monitor", "start_api_server", *([] if logs else ["start_log_monitor"])]
    replacements: list[tuple[Any, str, Any]] = [(Node, name, nothing) for name in unwanted]
    replacements.append((utils, "get_dashboard_dependency_error", absent))
    with contextlib.ExitStack() as stack:
        for owner, name, other in replacements:
            if hasattr(owner, name):
                stack.callback(setattr, owner, name, getattr(owner, name))
                setattr(owner, name, other)
        yield


def _hide_token() -> None:
    """Ray writes the token of a cluster on this machine to a file that everybody may read, and with it run
    code as this user."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    with contextlib.suppress(OSError):
        if token.stat().st_mode & 0o077:
            token.chmod(0o600)


def require(
    *, workers: int, cpus: float = 1, gpus: float = 0, field: str, start_with: int | None = None
) -> None:
    """Refuse at once what the cluster can't hold and could never hold by growing; wait for what it can grow
    to, until there is room for `start_with` workers (None: for all). A worker does not span machines.

    Raises:
        ResourceError: names `field`, what is needed and what there is.
    """
    needed = _needed(cpus, gpus)
    if room(needed) >= workers:
        return
    # Loading what asks a cluster takes as long as a small job, and most jobs fit.
    from synthmill.runtime import autoscaling

    least = workers if start_with is None else start_with
    if autoscaling.wait_for(workers, needed, start_with=least, field=field, room=room):
        return
    _refuse(workers, needed, field=field)


def require_range(least: int, most: int, *, cpus: float = 1, gpus: float = 0, field: str) -> int:
    """Ask a cluster that grows for the most workers at once, and wait until there is room for the least; how
    many it can hold one day.

    Raises:
        ResourceError: not even the least.
    """
    try:
        require(workers=most, start_with=least, cpus=cpus, gpus=gpus, field=field)
        return most
    except ResourceError:
        if least == most:
            raise
    require(workers=least, cpus=cpus, gpus=gpus, field=field)
    from synthmill.runtime import autoscaling

    return autoscaling.most_accepted(least, most - 1, _needed(cpus, gpus))


def grows(workers: int, ask: Mapping[str, Any]) -> bool:
    """Whether the cluster has no room for so many workers (`ask`: as `require` takes it), but may start
    machines."""
    needed = _needed(ask.get("cpus", 1), ask.get("gpus", 0))
    if room(needed) >= workers:
        return False
    from synthmill.runtime import autoscaling

    return autoscaling.find() is not None


def _needed(cpus: float, gpus: float) -> dict[str, float]:
    return {resource: each for resource, each in (("CPU", cpus), ("GPU", gpus)) if each}


def _refuse(workers: int, needed: Mapping[str, float], *, field: str) -> NoReturn:
    have = ray.cluster_resources()
    for resource, each in needed.items():
        # In floats three times 0.1 is a little more than 0.3.
        if each * workers > have.get(resource, 0) + 1e-9:
            total = f"{workers} workers need {each * workers:g} {resource}s"
            one = f"one worker needs {each:g} {resource}s" if each > 1 else f"a {resource} is needed"
            raise ResourceError(
                f"{one if workers == 1 else total} but the cluster has {have.get(resource, 0):g};"
                f" {_fix(have, needed)}",
                field=field,
            )
    each_asks = " and ".join(f"{each:g} {resource}s" for resource, each in needed.items())
    raise ResourceError(
        f"{workers} workers of {each_asks} do not fit the cluster's machines, which hold {room(needed)}; ask"
        " for fewer or smaller ones",
        field=field,
    )


def _fix(have: Mapping[str, float], needed: Mapping[str, float]) -> str:
    """How many such workers, or how large ones, would do."""
    most = min(int(have.get(resource, 0) // each) for resource, each in needed.items())
    if most >= 1:
        return f"use at most {most}"
    short = next(resource for resource, each in needed.items() if have.get(resource, 0) < each)
    if have.get(short, 0) >= 1:
        return f"use at most {have[short]:g} a worker"
    return "choose cpu or auto" if short == "GPU" else "no machine of it takes tasks"


def room(needed: Mapping[str, float]) -> int:
    """How many workers that each need so much the cluster's machines hold."""
    return _room([node["Resources"] for node in ray.nodes() if node["Alive"]], needed)


def free_room(needed: Mapping[str, float]) -> int:
    """How many workers that each need so much the machines hold beside what runs on them now."""
    # Machines that are about to be taken away take nobody in.
    going = cluster_state.get_draining_nodes()
    return _room([free for node, free in available_resources_per_node().items() if node not in going], needed)


def _room(machines: list[Mapping[str, float]], needed: Mapping[str, float]) -> int:
    """How many workers that each need so much fit, whole, on the machines."""
    return sum(
        min(int((machine.get(resource, 0) + 1e-9) // each) for resource, each in needed.items())
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
    # Private, but the only place that says what is free on each node rather than in sum.
    free = sorted((node.get("CPU", 0) for node in available_resources_per_node().values()), reverse=True)
    nodes = [int(cpus) for cpus in free if cpus >= 1][:workers]
    if not nodes:
        return 1
    # Workers are alike, so the node with the fewest free CPUs decides for all.
    per_node = -(-workers // len(nodes))
    return max(1, min(nodes) // per_node)


def threads_here() -> int:
    """Torch threads for this worker: the CPUs Ray gave it, but no more than the machine has."""
    given = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
    return max(1, min(int(given), os.cpu_count() or 1))


def environment() -> dict[str, str]:
    """What a worker must have in its environment to reach what the driver reaches."""
    return {key: value for key, value in os.environ.items() if key.startswith(FORWARDED)}


def adopt(env: Mapping[str, str]) -> None:
    """Called first in a worker, with the driver's `environment()`."""
    os.environ.update(env)
