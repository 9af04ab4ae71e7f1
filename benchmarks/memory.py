"""Resident memory of processes below one, looked at while a job runs; Linux's /proc."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path


class Memory:
    """What the descendants of `root` use whose command holds a title, looked at every `every` seconds and at
    the start."""

    def __init__(self, titles: Mapping[str, str], *, root: int | None = None, every: float = 0.25) -> None:
        self.seen: list[dict[str, list[float]]] = []
        """Of each look: name -> MiB of each process."""
        self._titles = titles
        self._root = os.getpid() if root is None else root
        self._every = every
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Memory":
        self._note()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def most_mib(self, name: str) -> float:
        """Of one process at any time."""
        return max((mib for look in self.seen for mib in look[name]), default=0.0)

    def totals_mib(self, name: str) -> list[float]:
        """Of all of them together, at each look."""
        return [sum(look[name]) for look in self.seen]

    def _look(self) -> None:
        while not self._done.wait(self._every):
            self._note()

    def _note(self) -> None:
        commands = {process: command_of(process) for process in descendants(self._root)}
        self.seen.append(
            {
                name: [resident_mib(process) for process, command in commands.items() if title in command]
                for name, title in self._titles.items()
            }
        )


def descendants(root: int) -> list[int]:
    """Process ids below `root`."""
    parents = {
        int(path.name): int(_status(int(path.name)).get("PPid", "0"))
        for path in Path("/proc").iterdir()
        if path.name.isdigit()
    }
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found[1:]


def resident_mib(process: int) -> float:
    """Resident memory of a process; 0 once it is gone."""
    return int(_status(process).get("VmRSS", "0 kB").split()[0]) / 1024


def command_of(process: int) -> str:
    """The command line, or the title that a process gave itself."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _status(process: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
