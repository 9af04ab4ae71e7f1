#!/usr/bin/env python3
"""`synthmill serve` against the barest FastAPI app, LitServe and BentoML around the same model, against
in-process sampling, and a soak.

    .venv/bin/python benchmarks/serving.py --data adult.csv --only small large
    .venv/bin/python benchmarks/serving.py --data adult.csv --only soak

Ours is started as a user starts it, behind HAProxy and with a key that every request sends. One server runs
at a time, on all cores, with the load generator beside it on the same ones. small: requests for 10 rows as
JSON. large: 1 million rows as Arrow, against
`Generator.sample` and the unseeded equivalent in a process of their own. soak: ten minutes at 80% of the rate
that the closed loop reached just before, with latency counted from the time a request was due.
"""

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import harness
import load
from memory import Memory, descendants

ARROW = "application/vnd.apache.arrow.stream"
PARTS = ("small", "large", "soak")
PEERS = ("litserve", "bentoml")
SEEDS = {"seeded": 7, "free": None}
START_SECONDS = 120.0
STOP_SECONDS = 90.0
SOAK_SHARE = 0.8
SOAK_CONNECTIONS = 64
TITLES = {"replica": "ServeReplica", "state": "StateActor", "haproxy": "haproxy -"}
"""What the commands of our processes hold."""


def trained(options: argparse.Namespace) -> None:
    """A model to serve, in the benchmark's store; how good it is does not matter here."""
    if (options.store / "models" / options.model / "1" / "_manifest.json").exists():
        return
    given = [
        f"name={options.model}",
        f"data.source={options.data.resolve()}",
        f"data.target={options.target}",
        f"model.name={options.model}",
    ]
    words = [
        word for item in [*given, f"training.max_steps={options.train_steps}"] for word in ("--set", item)
    ]
    harness.job(["jobs/train.py", "table", *words, "--store", str(options.store)])


@contextmanager
def ours(options: argparse.Namespace, *extra: str) -> Iterator[tuple[load.Request, int]]:
    """`synthmill serve` with a key; the request for rows, and the server's process id."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        keys = str(Path(folder) / "keys.json")
        made = harness.job(
            [
                "-m",
                "synthmill.cli",
                "keys",
                "create",
                "benchmark",
                "--keys",
                keys,
                "--store",
                str(options.store),
            ]
        )
        words = [
            "serve",
            "--models",
            options.model,
            "--store",
            str(options.store),
            "--port",
            str(port),
            "--keys",
            keys,
            *extra,
        ]
        with server(
            [sys.executable, "-m", "synthmill.cli", *words],
            f"http://127.0.0.1:{port}/readyz",
            options.threads,
        ) as process:
            headers = {"Authorization": f"Bearer {made['key']}"}
            url = f"http://127.0.0.1:{port}/v1/models/{options.model}/rows"
            yield load.Request(url, {"num_rows": options.rows}, headers), process


@contextmanager
def another(options: argparse.Namespace, name: str) -> Iterator[tuple[load.Request, int]]:
    """One of serving_apps.py."""
    python, port = sys.executable if name == "bare" else str(options.peers), free_port()
    command = [
        python,
        str(harness.HERE / "serving_apps.py"),
        name,
        str(options.store),
        options.model,
        str(port),
        str(options.threads),
    ]
    body = {"num_rows": [options.rows] if name == "bentoml" else options.rows}
    path = {"bare": "/docs", "litserve": "/health", "bentoml": "/readyz"}[name]
    with server(command, f"http://127.0.0.1:{port}{path}", threads=1) as process:
        yield load.Request(f"http://127.0.0.1:{port}/rows", body), process


@contextmanager
def server(command: list[str], ready: str, threads: int) -> Iterator[int]:
    """A process that answers 200 at `ready` before it is measured, ended with SIGTERM."""
    environment = {**harness.environment(threads), "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, env=environment, cwd=harness.ROOT, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_for(ready, process, log)
            yield process.pid
        finally:
            below = descendants(process.pid)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            for left in below:
                end(left)


def wait_for(ready: str, process: "subprocess.Popen[bytes]", log: Any) -> None:
    stop = time.monotonic() + START_SECONDS
    while time.monotonic() < stop and process.poll() is None:
        if status_of(ready) == 200:
            return
        time.sleep(0.1)
    log.seek(0)
    sys.exit(f"{process.args} did not answer:\n{log.read().decode(errors='replace')[-2000:]}")


def status_of(url: str) -> int:
    address, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", f"/{path}")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def end(process: int) -> None:
    """Workers that outlived their server; their ids were taken while it ran."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def small(cells: harness.Cells, options: argparse.Namespace) -> None:
    """Requests a second and latency of every contender at every number of connections."""
    names = ["ours", "bare", *(name for name in PEERS if options.peers.exists())]
    contenders = {name: (lambda name=name: small_run(options, name)) for name in names}
    runs = cells.alternate(f"small/{options.model}/{options.rows}", contenders, options.repeats)
    for connections in options.connections:
        found = {name: [run[f"c{connections}"] for run in runs[name]] for name in names}
        rate = {name: harness.median(found[name], "requests_per_second") for name in names}
        rows = [
            {
                f"{connections} connections": name,
                "requests/s": rate[name],
                "ours over it": rate["ours"] / rate[name],
                "p50 ms": harness.median(found[name], "p50_ms"),
                "p99 ms": harness.median(found[name], "p99_ms"),
                "errors": sum(run["errors"] for run in found[name]),
            }
            for name in names
        ]
        print(f"\n{options.model}, {options.rows} rows a request\n\n{harness.table(rows)}")


def small_run(options: argparse.Namespace, name: str) -> dict[str, Any]:
    opened = ours(options) if name == "ours" else another(options, name)
    with opened as (request, _):
        told = {}
        for connections in options.connections:
            outcome = load.closed(
                request, connections=connections, seconds=options.seconds, warm_seconds=options.warm_seconds
            )
            told[f"c{connections}"] = outcome.summary()
    return told


def large(cells: harness.Cells, options: argparse.Namespace) -> None:
    """Rows a second of one large answer, read to its end, against the same rows made in a process."""
    contenders = {"ours": lambda: large_run(options), "process": lambda: in_process(options)}
    runs = cells.alternate(f"large/{options.model}/{options.large_rows}", contenders, options.repeats)
    for kind in SEEDS:
        rate = {name: harness.median(found, f"{kind}_rows_per_second") for name, found in runs.items()}
        rows = [
            {kind: name, "rows/s": value, "share": value / rate["process"]} for name, value in rate.items()
        ]
        print(f"\n{options.model}, {options.large_rows:,} rows as Arrow\n\n{harness.table(rows)}")


def large_run(options: argparse.Namespace) -> dict[str, Any]:
    told: dict[str, Any] = {}
    with ours(options) as (request, process):
        fetch(request, 10_000, None)
        with Memory(TITLES, root=process) as memory:
            for kind, seed in SEEDS.items():
                started = time.perf_counter()
                rows = fetch(request, options.large_rows, seed)
                told[f"{kind}_rows_per_second"] = rows / (time.perf_counter() - started)
                assert rows == options.large_rows, f"{rows} rows came"
    replicas = memory.totals_mib("replica")
    return {**told, "replica_mib_before": replicas[0], "replica_mib_most": max(replicas)}


def fetch(request: load.Request, rows: int, seed: int | None) -> int:
    """Rows of one Arrow answer, counted as they come; a stream without its end raises."""
    import pyarrow as pa

    host, port = request.address
    connection = http.client.HTTPConnection(host, port, timeout=300)
    path = request.url.partition(f":{port}")[2]
    body = json.dumps({"num_rows": rows, "seed": seed})
    connection.request(
        "POST", path, body, {"Content-Type": "application/json", "Accept": ARROW, **request.headers}
    )
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    found = sum(batch.num_rows for batch in pa.ipc.open_stream(pa.PythonFile(answer, mode="r")))
    connection.close()
    return found


def in_process(options: argparse.Namespace) -> dict[str, Any]:
    task = {"store": str(options.store), "model": options.model, "rows": options.large_rows}
    return harness.process([sys.executable, __file__, "--child"], task, threads=1)


def child(task_path: str, result_path: str) -> None:
    """The same rows, made and dropped; one thread, as a replica has."""
    import torch

    from synthmill.catalog.store import Store
    from synthmill.generation.generator import Generator
    from synthmill.generation.stream import fresh_pieces
    from synthmill.serving.config import ServeArgs

    task = json.loads(Path(task_path).read_text())
    torch.set_num_threads(1)
    generator = Generator.load(Store(task["store"]).resolve("models", task["model"], field="model"))
    generator.sample(10_000, seed=0)
    started = time.perf_counter()
    generator.sample(task["rows"], seed=SEEDS["seeded"])
    seeded = time.perf_counter()
    for _ in fresh_pieces(
        generator,
        generator.sampler,
        task["rows"],
        columns=None,
        piece_rows=ServeArgs(models=("any",)).batch_rows,
    ):
        pass
    free = time.perf_counter()
    told = {
        "seeded_rows_per_second": task["rows"] / (seeded - started),
        "free_rows_per_second": task["rows"] / (free - seeded),
    }
    Path(result_path).write_text(json.dumps(told))


def soak(cells: harness.Cells, options: argparse.Namespace) -> None:
    """Errors, memory and p99 over time."""
    told = cells.run(
        f"soak/{options.model}/{options.rows}/{options.soak_seconds:g}", lambda: soak_run(options)
    )
    offered, capacity = told["offered_per_second"], told["capacity_per_second"]
    print(f"\n{offered:.0f} of {capacity:.0f} requests/s, {told['errors']} errors of {told['requests']}\n")
    print(harness.table(told["slices"]))


def soak_run(options: argparse.Namespace) -> dict[str, Any]:
    with ours(options) as (request, process):
        load.closed(request, connections=SOAK_CONNECTIONS, seconds=options.warm_seconds)
        capacity = load.closed(
            request, connections=SOAK_CONNECTIONS, seconds=10 * options.warm_seconds
        ).summary()["requests_per_second"]
        slice_seconds = options.soak_seconds / 10
        with Memory(TITLES, root=process, every=slice_seconds) as memory:
            rate = SOAK_SHARE * capacity
            outcome = load.paced(
                request, per_second=rate, connections=SOAK_CONNECTIONS, seconds=options.soak_seconds
            )
    slices = []
    for number in range(10):
        inside = sorted(
            seconds
            for seconds, at in zip(outcome.latencies, outcome.finished, strict=True)
            if int(at / slice_seconds) == number
        )
        mib = {name: memory.totals_mib(name)[min(number, len(memory.seen) - 1)] for name in TITLES}
        told = {"slice": number, "answered": len(inside)}
        told |= {"p50 ms": 1e3 * load.quantile(inside, 0.5), "p99 ms": 1e3 * load.quantile(inside, 0.99)}
        slices.append(told | {f"{name} MiB": round(value) for name, value in mib.items()})
    return {
        "capacity_per_second": capacity,
        "offered_per_second": rate,
        **outcome.summary(),
        "slices": slices,
    }


def main() -> None:
    parser = harness.parser(__doc__, "serving")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--target", default="income")
    parser.add_argument("--model", default="tvae")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rows", type=int, default=10, help="rows of a small request")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=5.0, help="of one closed loop")
    parser.add_argument("--warm-seconds", type=float, default=1.0)
    parser.add_argument("--large-rows", type=int, default=1_000_000)
    parser.add_argument("--soak-seconds", type=float, default=600.0)
    parser.add_argument("--train-steps", type=int, default=500)
    parser.add_argument(
        "--store", type=Path, help="where the model of the benchmark goes; default: benchmarks/store"
    )
    options = parser.parse_args()
    options.store = (options.store or harness.HERE / "store").resolve()
    cells = harness.Cells(
        options, "data", "target", "threads", "train_steps", "connections", "seconds", "warm_seconds"
    )
    trained(options)
    for part in options.only:
        {"small": small, "large": large, "soak": soak}[part](cells, options)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:4])
    else:
        main()
