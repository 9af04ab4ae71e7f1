"""`synthmill serve`: starts Ray with what must be set before it, then Ray Serve, and waits to be
interrupted."""

import contextlib
import logging
import os
import re
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synthmill.config import parse_model
from synthmill.errors import SynthmillError, UserError
from synthmill.runtime.progress import say
from synthmill.serving.config import Scaling, ServeArgs

APPLICATION = "synthmill"
FIRST_REPLICA_PORT = 30_000
REPLICA_PORTS = 100
CONTROLLER_POLL_SECONDS = 0.1
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ERROR = re.compile(r"^[\w.]*(Error|Exception)\b.*: ")


def run(settings: dict[str, Any], *, host: str, port: int) -> dict[str, Any]:
    """Serve until SIGINT or SIGTERM; returns what the closing line says.

    Raises:
        UserError: an argument is wrong, a model is not there, or no key could reach the server.
        SynthmillError: Ray or the application can't be started.
    """
    if settings.get("insecure_local") and host not in LOOPBACK:
        raise UserError(
            f"without keys the server listens on 127.0.0.1 only, not on {host}", field="--insecure-local"
        )
    args = parse_model(ServeArgs, {**settings, "scaling": _with_most_replicas(settings["scaling"])})
    _require_free(host, port)
    stopped = _stop_signal()
    # Ray adds a node's id and HAProxy allows its sockets 97 characters, so the folder's own path must be
    # short.
    with _own_environment(), tempfile.TemporaryDirectory(prefix="sm-", dir="/tmp") as scratch:
        prepare_environment(Path(scratch), port)
        from synthmill.serving.app import application, worker_variables

        # Ray's processes inherit them from this one if it starts Ray; an existing cluster does not.
        joins = "RAY_ADDRESS" in os.environ
        variables = worker_variables()
        os.environ.update({} if joins else variables)
        app = application(args, runtime_env={"env_vars": variables} if joins else None)
        say("joining Ray" if joins else "starting Ray")
        from synthmill.runtime import cluster

        with cluster.session(), _serving(app, host, port):
            _greet(args, host, port)
            stopped.wait()
    return {"served": list(args.models)}


@contextmanager
def _own_environment() -> Iterator[None]:
    """What is set for Ray inside is gone afterwards: it names files of a folder that is then removed, and a
    second server of this process would look for its HAProxy there."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def _with_most_replicas(scaling: Any) -> Any:
    """One replica for each CPU at most, unless the settings say otherwise."""
    if not isinstance(scaling, dict) or "max_replicas" in scaling:
        return scaling
    least = parse_model(Scaling, {**scaling, "max_replicas": sys.maxsize}, prefix="scaling").min_replicas
    return {**scaling, "max_replicas": max(least, os.cpu_count() or 1)}


def prepare_environment(scratch: Path, port: int) -> None:
    """What Ray Serve reads when its processes start; what the user set stays."""
    from synthmill.serving.haproxy import unsupported

    defaults = {
        # HAProxy's manager is killed when it is not ready in this time; Ray's 5 s are too few on a busy
        # machine.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    reason = unsupported()
    if reason is None:
        defaults |= _haproxy_settings(scratch, port)
    else:
        say(f"HAProxy is not used ({reason}); Ray Serve's own proxy answers, with fewer requests a second")
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def _haproxy_settings(scratch: Path, port: int) -> dict[str, str]:
    from synthmill.serving.haproxy import install

    # By the server's own port: two of them on one machine get different ranges, also where they start at the
    # same time, when each finds every port free that HAProxy takes half a minute later.
    first_replica_port = FIRST_REPLICA_PORT + REPLICA_PORTS * (port % 10)
    place = port % 100
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(install(scratch)),
        # A replica that dies before the first byte of its answer: another one gets the request. The wrapper
        # excepts jobs.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        # Two servers on one machine must not share these.
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(scratch / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(scratch / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(scratch),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(scratch / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(scratch / "metrics.sock"),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port(8404 + place)),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port(9101 + place)),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port(8500 + place)),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first_replica_port),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first_replica_port + REPLICA_PORTS),
        # A client that takes nothing of its stream for so long is cut off, and its place among the replica's
        # streams is free; Ray: an hour.
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "300",
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(4, os.cpu_count() or 1)),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
    }


def free_port(preferred: int) -> int:
    """The first free loopback port from `preferred` on."""
    for port in range(preferred, preferred + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise SynthmillError(f"no free port from {preferred} to {preferred + 99}")


def _require_free(host: str, port: int) -> None:
    """Refuse a taken port before Ray starts: HAProxy would try it for ever."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as fault:
        raise UserError(
            f"{host!r} has no address; give one of this machine's, or 0.0.0.0 for every interface",
            field="--host",
        ) from fault
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as fault:
            raise UserError(
                f"can't listen on {host}:{port}: {(fault.strerror or str(fault)).lower()}", field="--port"
            ) from fault


def _stop_signal() -> threading.Event:
    """Set by SIGINT and SIGTERM, which then no longer interrupt start-up or shutdown midway."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


@contextmanager
def _serving(application: Any, host: str, port: int) -> Iterator[None]:
    """The application, until the block ends. Replicas load their models while the proxies start: each takes
    seconds."""
    from ray import serve
    from ray.exceptions import RayError

    # Its progress would mix with our own lines.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        with ThreadPoolExecutor(1) as pool:
            proxies = pool.submit(_start_proxies, host, port)
            say("loading the models")
            _await_controller(proxies)
            serve.run(application, name=APPLICATION, route_prefix="/")
            say("waiting for the proxies")
            proxies.result()
        yield
    except (RuntimeError, RayError, TimeoutError) as fault:
        raise SynthmillError(f"the application did not start: {_cause(str(fault))}") from fault
    finally:
        serve.shutdown()


def _start_proxies(host: str, port: int) -> None:
    from ray import serve

    quiet = {"enable_access_log": False, "log_level": "WARNING"}
    serve.start(proxy_location="EveryNode", http_options={"host": host, "port": port}, logging_config=quiet)


def _await_controller(proxies: "Future[None]") -> None:
    """Wait until applications can be deployed. A Ray that names its controller otherwise is waited for until
    its proxies are there too."""
    import ray
    from ray.serve._private import constants

    name = getattr(constants, "SERVE_CONTROLLER_NAME", None)
    namespace = getattr(constants, "SERVE_NAMESPACE", None)
    while not proxies.done():
        with contextlib.suppress(ValueError):
            ray.get_actor(name, namespace)
            return
        wait([proxies], CONTROLLER_POLL_SECONDS)
    proxies.result()


def _cause(report: str) -> str:
    """The line of a worker's report that names the error, without colours and stack."""
    # Ray Serve's message is a whole stack, with terminal colours.
    lines = [_COLOURS.sub("", line).strip() for line in report.splitlines() if line.strip()]
    named = [line for line in lines if _ERROR.match(line)]
    return (named or lines or ["no reason was given"])[-1][:500]


def _greet(args: ServeArgs, host: str, port: int) -> None:
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    say(f"serving {', '.join(args.models)} on http://{shown}:{port}/ (API: /docs, health: /readyz)")
    if args.insecure_local:
        say("no keys are needed: loopback only")
        return
    from synthmill.serving.auth import KeyFile

    file = KeyFile(*args.keys_location, args.storage)
    if not file.read().keys:
        say(
            f"there are no keys yet in {file.uri}; make one with: synthmill keys create NAME --store"
            f" {args.store}"
        )
