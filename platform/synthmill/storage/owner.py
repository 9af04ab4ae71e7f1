"""Whether the process that wrote a claim has ended, where this machine can tell.

A rerun on the same machine then need not wait until the claim's heartbeat is stale.
"""

import hashlib
import os
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any] | None:
    """A description of this process for `has_ended`; None on systems without `/proc`."""
    machine, started = _machine(), _started(os.getpid())
    if machine is None or started is None:
        return None
    return {"machine": machine, "pid": os.getpid(), "started": started}


def has_ended(process: Any) -> bool:
    """Whether the described process surely ran on this machine and has ended; False when in doubt."""
    if not isinstance(process, dict) or process.get("machine") is None or process["machine"] != _machine():
        return False
    try:
        os.kill(process["pid"], 0)  # Signal 0 delivers nothing; it only asks whether the process exists.
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # It exists and belongs to another user.
    started = _started(process["pid"])
    # None is no proof: with hidepid, `/proc` hides other users' processes. Another start time means that
    # the id was given to a new process.
    return started is not None and bool(started != process["started"])


def _machine() -> str | None:
    """This boot of this machine and this process id namespace (a container has its own), hashed."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:16]


def _started(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; -1: it is a zombie; None: can't be read."""
    try:
        # The command's name, in brackets, may itself hold blanks and brackets: fields count from the last.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return -1 if fields[0] in ("Z", "X") else int(fields[19])
