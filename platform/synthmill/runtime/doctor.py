"""`synthmill doctor`: is this machine fit for the work, and if not, what is to be done."""

import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from synthmill.errors import SynthmillError
from synthmill.storage.uri import redact

Status = Literal["ok", "warn", "fail"]
PYTHONS = ((3, 11), (3, 13))
TESTED = {"ray": "2.60", "torch": "2.13"}
"""Versions that the tests run with; others within pyproject.toml's ranges may work."""
PACKAGES = ("ray", "torch", "pyarrow", "numpy", "pydantic", "boto3", "safetensors", "scikit-learn", "typer")
GIB = 1024**3
LEAST_MEMORY = 4 * GIB
LEAST_DISK = 5 * GIB
LEAST_SHARED = GIB
"""Ray's object store; containers have 64 MiB unless they are told otherwise."""
RAY_DISK_LIMIT = 0.95
"""Share of a full disk at which Ray stops writing objects to it."""
CONNECT_SECONDS = 5.0
PROBE_SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """What one check saw. `fix` is empty where nothing is wrong."""

    name: str
    status: Status
    detail: str
    fix: str = ""


def examine(store: str | None) -> list[Finding]:
    """Every check, in the order in which one would mend things; `store` None: what the environment names."""

    def guarded(check: Callable[[], Finding | None]) -> Finding | None:
        # A check that fails itself is a finding, too: the others still have something to say.
        try:
            return check()
        except Exception as fault:
            name = getattr(check, "__name__", "check").replace("_", " ")
            detail = f"could not be checked: {type(fault).__name__}: {fault}"
            return Finding(name, "warn", detail, "report this")

    checks: tuple[Callable[[], Finding | None], ...] = (
        python,
        packages,
        processor,
        threads,
        memory,
        shared_memory,
        disk,
        gpu,
        ray_address,
        lambda: storage(store, os.environ),
    )
    return [finding for check in checks if (finding := guarded(check)) is not None]


def python() -> Finding:
    """The interpreter."""
    here = sys.version_info[:2]
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if not PYTHONS[0] <= here <= PYTHONS[1]:
        return Finding("python", "fail", detail, "use Python 3.11, 3.12 or 3.13")
    if platform.system() != "Linux":
        return Finding("python", "warn", detail, "the tests run on Linux; elsewhere nothing is promised")
    return Finding("python", "ok", detail)


def packages() -> Finding:
    """What is installed, and whether it is what the tests ran with."""
    versions: dict[str, str] = {}
    missing = []
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    detail = ", ".join(f"{name} {version}" for name, version in versions.items())
    if missing:
        return Finding("packages", "fail", f"{', '.join(missing)} missing; {detail}", "pip install synthmill")
    other = [
        f"{name} {version}"
        for name, version in TESTED.items()
        if not re.match(rf"{re.escape(version)}(\D|$)", versions[name])
    ]
    if other:
        return Finding("packages", "warn", detail, f"tested with {', '.join(other)}; use constraints.txt")
    return Finding("packages", "ok", detail)


def processor() -> Finding:
    """Which instructions torch uses here; without AVX2 a step takes several times as long."""
    import torch

    capability, text = torch.backends.cpu.get_cpu_capability(), ""
    # Torch names no bf16 instructions; Linux does, as `flags` or, on ARM, `Features`.
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text()
    line = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    flags = set(line[1].split()) if line else set()
    bf16 = "bf16 in hardware" if {"avx512_bf16", "amx_bf16"} & flags else "no bf16 in hardware"
    detail = f"{capability}, {bf16}"
    if capability == "DEFAULT" and platform.machine() in ("x86_64", "AMD64"):
        fix = "choose a machine with AVX2, or let the hypervisor pass the processor's features on"
        return Finding("processor", "warn", detail, fix)
    return Finding("processor", "ok", detail)


def threads() -> Finding:
    """How many processors this process may use, and whether others use them already."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = None
    # A container's limit is no affinity: threads for all cores would be throttled (cgroup v2).
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        limit = None if quota == "max" else int(quota) / int(period)
    usable = min(cores, limit) if limit is not None else float(cores)
    stated = os.environ.get("OMP_NUM_THREADS")
    load = os.getloadavg()[0]
    detail = f"{usable:g} of {os.cpu_count()} processors"
    detail += (f", OMP_NUM_THREADS={stated}" if stated else "") + f", load {load:.1f}"
    if stated and stated.isdigit() and int(stated) > cores:
        fix = "unset OMP_NUM_THREADS: threads that share a processor wait for each other"
        return Finding("threads", "warn", detail, fix)
    # Spinning threads of a busy machine cost a small step up to fifty times its own time (threads.py).
    if load > 2 * usable:
        return Finding("threads", "warn", detail, "other processes are using them; times will vary")
    return Finding("threads", "ok", detail)


def memory() -> Finding:
    """Free memory of the machine, or what is left of the container's limit."""
    free = _free_memory()
    if free is None:
        return Finding("memory", "ok", "not known on this system")
    detail = f"{free / GIB:.1f} GiB free"
    if free < LEAST_MEMORY:
        return Finding(
            "memory", "warn", detail, "Ray and training want 4 GiB; close something or raise the limit"
        )
    return Finding("memory", "ok", detail)


def shared_memory() -> Finding | None:
    """/dev/shm, where Ray keeps objects."""
    path = Path("/dev/shm")
    if not path.is_dir():
        return None
    free = shutil.disk_usage(path).free
    detail = f"{free / GIB:.1f} GiB free in {path}"
    if free < LEAST_SHARED:
        return Finding("shared memory", "warn", detail, "give the container more: docker run --shm-size=2g")
    return Finding("shared memory", "ok", detail)


def disk() -> Finding:
    """Where temporary files go, Ray's among them."""
    folder = Path(tempfile.gettempdir())
    usage = shutil.disk_usage(folder)
    detail = f"{usage.free / GIB:.1f} GiB free in {folder}"
    # A folder that can't be written raises here, and becomes a finding.
    with tempfile.NamedTemporaryFile(dir=folder):
        pass
    if usage.used / usage.total > RAY_DISK_LIMIT:
        return Finding(
            "disk", "fail", f"{detail}: {usage.used / usage.total:.0%} full", "free some, or set TMPDIR"
        )
    if usage.free < LEAST_DISK:
        return Finding("disk", "warn", detail, "checkpoints and Ray want 5 GiB; free some, or set TMPDIR")
    return Finding("disk", "ok", detail)


def gpu() -> Finding:
    """Whether there is a GPU, and whether torch can use it."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return Finding("gpu", "ok", f"{', '.join(names)}, CUDA {torch.version.cuda}")
    # The commonest case of a slow first run: a CPU build of torch beside a driver.
    if Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi"):
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for CPUs alone"
        fix = "install torch from a CUDA wheel index that fits the driver (nvidia-smi shows it)"
        return Finding("gpu", "warn", f"there is a GPU that torch can't use; torch is {built}", fix)
    return Finding("gpu", "ok", "none; the CPU is used")


def ray_address() -> Finding:
    """Whether the cluster that RAY_ADDRESS names answers; without it Ray starts on this machine."""
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        return Finding("ray", "ok", "starts on this machine when a job needs it")
    # `ray://host:10001`, `host:6379` or `host`.
    parts = urlsplit(address if "://" in address else f"//{address}")
    fault = _unreachable(parts.hostname or address, parts.port or 6379)
    if fault:
        fix = "start the cluster, open the port, or unset RAY_ADDRESS to use this machine"
        return Finding("ray", "fail", f"RAY_ADDRESS {address} does not answer ({fault})", fix)
    return Finding("ray", "ok", f"{address} answers")


def storage(store: str | None, environment: Mapping[str, str]) -> Finding | None:
    """Whether the store can be written and honours create-if-absent; None where nothing names one."""
    from synthmill.config import StorageConfig
    from synthmill.storage.folder import Folder

    uri = store or environment.get("SYNTHMILL_STORE")
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    if uri is None:
        return None if endpoint is None else _endpoint(endpoint)
    try:
        # A wrong endpoint should be known in seconds, not after a job's two minutes of retries.
        Folder(uri, StorageConfig(retry_seconds=PROBE_SECONDS, connect_seconds=CONNECT_SECONDS)).probe_write()
    except SynthmillError as fault:
        fix = (
            "set credentials and endpoint, or give another --store"
            if "://" in uri
            else "give another --store"
        )
        return Finding("store", "fail", redact(str(fault)), fix)
    at = f" at {redact(endpoint)}" if endpoint and uri.startswith("s3://") else ""
    return Finding("store", "ok", f"{redact(uri)}{at} can be written, and refuses to overwrite")


def _endpoint(endpoint: str) -> Finding:
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        fix = "write it as https://host:port"
        return Finding("store", "fail", f"AWS_ENDPOINT_URL {redact(endpoint)} is no URL", fix)
    fault = _unreachable(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
    if fault:
        detail = f"{redact(endpoint)} does not answer ({fault})"
        return Finding("store", "fail", detail, "start the server, or correct AWS_ENDPOINT_URL")
    detail = f"{redact(endpoint)} answers; --store s3://bucket/prefix checks that it can be written"
    return Finding("store", "ok", detail)


def as_data(findings: list[Finding]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(finding) for finding in findings]


def as_lines(findings: list[Finding]) -> list[str]:
    """For a person."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.status:<5}{finding.name}: {finding.detail}")
        if finding.fix:
            lines.append(f"     -> {finding.fix}")
    return lines


def _unreachable(host: str, port: int) -> str:
    """Why nothing answers there; empty when something does."""
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as fault:
        return str(fault.strerror or fault)
    return ""


def _free_memory() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    line = re.search(r"^MemAvailable:\s*(\d+) kB", text, re.MULTILINE)
    free = int(line[1]) * 1024 if line else None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return free
    # A container sees the whole machine's memory, and is killed at its own limit.
    left = None if limit == "max" else int(limit) - used
    return min((value for value in (free, left) if value is not None), default=None)
