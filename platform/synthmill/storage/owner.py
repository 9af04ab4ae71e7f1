"""Whether the process that wrote a claim has ended, where this machine can know: then nobody need wait for
its silence."""

import hashlib
import os
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any] | None:
    """A description of this process that `has_ended` understands; None where the system does not offer
    one."""
    machine, started = _machine(), _started(os.getpid())
    if machine is None or started is None:
        return None
    return {"machine": machine, "pid": os.getpid(), "started": started}


def has_ended(process: Any) -> bool:
    """Whether the described process surely ran on this machine and is no more; False when in doubt."""
    if not isinstance(process, dict) or process.get("machine") is None or process["machine"] != _machine():
        return False
    return bool(_started(process["pid"]) != process["started"])


def _machine() -> str | None:
    """This boot of this machine and this set of process ids (a container has its own), hashed."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:16]


def _started(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None: no such process. A zombie has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])
