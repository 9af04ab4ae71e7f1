"""Starting Ray on a machine that is busy: waiting longer than Ray does, and trying again when it gave up."""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError

from synthmill.runtime.progress import say

TRIES = 3
SAY_SECONDS = 20.0
"""After which a line says why nothing happens."""
WAIT_SECONDS = 180.0
"""For Ray's node process to answer; Ray's own limit is a constant of 30."""
FAULTS = (RayError, ConnectionError, RuntimeError, TimeoutError)


def start_patiently(start: Callable[[], None]) -> None:
    """Call `start`, which starts Ray in this process, again when its processes died or came too late.

    Raises:
        RuntimeError: it never came up; or whatever `start` raised last.
    """
    for number in range(1, TRIES + 1):
        nodes: list[Any] = []
        try:
            with _longer_wait(nodes):
                start()
            return
        except Exception as fault:
            # Ray says that it waited too long with a plain Exception.
            known = isinstance(fault, FAULTS) or type(fault) is Exception
            if not known:
                raise
            _clean_up(nodes)
            if number == TRIES:
                raise RuntimeError(_line(fault)) from fault
            say(f"Ray did not start ({_line(fault)}): trying again ({number} of {TRIES - 1} times)")


def _line(fault: Exception) -> str:
    text = str(fault).strip()
    return text.splitlines()[0] if text else type(fault).__name__


def _clean_up(nodes: list[Any]) -> None:
    """End what a start left behind: Ray forgets the processes of a node that it gave up."""
    ray.shutdown()
    for node in nodes:
        # Some of them may be gone.
        with contextlib.suppress(Exception):
            node.kill_all_processes(check_alive=False, allow_graceful=False)


@contextmanager
def _longer_wait(nodes: list[Any]) -> Iterator[None]:
    """Ray asks again and again for the node that it starts, until 30 seconds have passed; here the first
    question takes as long as the answer. The nodes that are started are added to `nodes`.

    Ray has no option for it; a version that is built otherwise starts as it does by itself.
    """
    from ray._private import services
    from ray._private.node import Node

    began, said = time.monotonic(), False
    ask, begin = getattr(services, "get_node", None), getattr(Node, "start_ray_processes", None)

    def asking(*words: Any, **options: Any) -> Any:
        nonlocal said
        assert ask is not None, "only replaced where it is"
        while True:
            try:
                return ask(*words, **options)
            except RuntimeError:
                # Of another kind than what Ray takes as a reason to ask again.
                if any(node.dead_processes() for node in nodes):
                    raise ConnectionError("a process of it ended at once") from None
                waited = time.monotonic() - began
                if waited > WAIT_SECONDS:
                    raise TimeoutError(f"it did not answer within {WAIT_SECONDS:g} s") from None
            if waited > SAY_SECONDS and not said:
                said = True
                say("Ray takes long to start: this machine is busy")
            time.sleep(0.1)

    def beginning(self: Any) -> None:
        nodes.append(self)
        assert begin is not None, "only replaced where it is"
        begin(self)

    if ask is None or begin is None:
        yield
        return
    services.get_node, Node.start_ray_processes = asking, beginning
    try:
        yield
    finally:
        services.get_node, Node.start_ray_processes = ask, begin
