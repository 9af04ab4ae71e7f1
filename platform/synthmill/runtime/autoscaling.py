"""Clusters that start machines when there is work for them: whether this one does, and waiting until it has.

It is recognised by what the cluster itself answers, whatever started it: `ray up`, KubeRay, Anyscale. Ray has
no public call for that, so what stands here reads what the autoscaler reports to the cluster's head. Machines
are asked for through the actor that Ray Train and Ray Data ask through: it merges the wishes of all jobs,
where `ray.autoscaler.sdk.request_resources` would replace theirs, and forgets those of a driver that was
killed.
"""

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import ray
from ray._private import worker as ray_worker
from ray._private.state import state as cluster_state
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.experimental.internal_kv import _internal_kv_get

from synthmill.errors import ResourceError
from synthmill.runtime.progress import say

Resources = Mapping[str, float]
FIRST_REPORT_SECONDS = 15.0
"""An autoscaler that runs has reported to the head by then: it does so every five seconds."""
REPEAT_SECONDS = 60.0
"""After which a wait is mentioned again, though nothing changed."""
EXPIRE_SECONDS = 60.0
"""After which machines are no longer asked for when the driver is gone."""
LOOK_SECONDS = 1.0
REPORTS_TO_GIVE_UP = 3
"""Reports in a row of the older autoscaler that start nothing for what is asked."""


class Autoscaler(Protocol):
    """What answers whether a cluster can grow."""

    def heed(self, bundles: list[Resources]) -> None:
        """Called when the bundles have just been asked for."""

    def accepts(self) -> bool | None:
        """Whether the bundles can ever be had together; None while it has not answered."""

    def coming(self) -> str:
        """What is being started, or failed to start, in a few words; empty when there is nothing."""


def find() -> Autoscaler | None:
    """The autoscaler of the cluster that this process is connected to; None where machines come and go by
    hand."""
    node = ray_worker._global_node
    if node is not None and node.is_head():
        # This process started the cluster itself; Ray gives such a one no autoscaler.
        return None
    config = cluster_state.get_cluster_config()
    if config is not None and config.node_group_configs:
        return Declared(config)
    gcs = GcsClient(address=ray.get_runtime_context().gcs_address)
    if _is_second(gcs):
        return Second(gcs)
    types = _first_report().get("active_nodes", {})
    # The one that only watches names each machine after itself; those of real ones have types.
    return First() if any(not name.startswith("node_") for name in types) else None


def wait_for(
    workers: int, each: Resources, *, start_with: int, field: str, room: Callable[[Resources], int]
) -> bool:
    """Ask for machines that hold `workers` workers of `each`, all at once, until `room(each)` is at least
    `start_with`; every change of what is there is said. False: this cluster starts no machines.

    Raises:
        ResourceError: it never starts machines that hold these.
    """
    autoscaler = find()
    if autoscaler is None:
        return False
    bundles = [each] * workers
    what, said, said_at = describe(workers, each), "", 0.0
    with _asking(bundles) as renew:
        autoscaler.heed(bundles)
        while (there := room(each)) < start_with:
            if autoscaler.accepts() is False:
                fits = "does not fit" if workers == 1 else "do not fit"
                raise ResourceError(
                    f"{what} {fits}: the cluster has room for {there}, and its autoscaler can start no"
                    " machines for that; ask for fewer or smaller ones",
                    field=field,
                )
            details = "".join(f", {part}" for part in [autoscaler.coming()] if part)
            line = f"waiting for machines with room for {what}: {there} of {workers} there{details}"
            if line != said or time.monotonic() - said_at >= REPEAT_SECONDS:
                say(line)
                said, said_at = line, time.monotonic()
            renew()
            time.sleep(LOOK_SECONDS)
    if said:
        say(f"there is room for {there if there < workers else workers} of {workers} workers now")
    return True


def most_accepted(least: int, most: int, each: Resources) -> int:
    """The largest number of workers from `least` to `most` that the cluster can grow to, as far as it says
    so."""
    while least < most:
        middle = (least + most + 1) // 2
        autoscaler, end = find(), time.monotonic() + FIRST_REPORT_SECONDS
        assert autoscaler is not None, "a cluster that has grown"
        with _asking([each] * middle):
            autoscaler.heed([each] * middle)
            while (answer := autoscaler.accepts()) is None and time.monotonic() < end:
                time.sleep(LOOK_SECONDS)
        least, most = (least, middle - 1) if answer is False else (middle, most)
    return least


def describe(workers: int, each: Resources) -> str:
    """`4 workers of 2 CPUs and 1 GPU`."""
    parts = [f"{amount:g} {name}{'' if amount == 1 else 's'}" for name, amount in each.items()]
    return f"{workers} worker{'' if workers == 1 else 's'} of {' and '.join(parts)}"


@contextmanager
def _asking(bundles: list[Resources]) -> Iterator[Callable[[], None]]:
    """The bundles are asked for until the context ends; what is yielded must be called now and then."""
    from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import (
        ResourceRequestPriority,
        get_or_create_autoscaling_coordinator,
    )

    coordinator, asked = get_or_create_autoscaling_coordinator(), -EXPIRE_SECONDS
    name = f"synthmill-{uuid.uuid4()}"

    def renew() -> None:
        nonlocal asked
        if time.monotonic() - asked >= EXPIRE_SECONDS / 3:
            asked = time.monotonic()
            wish = {"resources": [dict(bundle) for bundle in bundles], "expire_after_s": EXPIRE_SECONDS}
            priority = ResourceRequestPriority.HIGH
            ray.get(coordinator.request_resources.remote(requester_id=name, priority=priority, **wish))

    renew()
    try:
        yield renew
    finally:
        with contextlib.suppress(Exception):
            ray.get(coordinator.cancel_request.remote(name), timeout=LOOK_SECONDS)


class Declared:
    """A platform that has told the cluster its groups of machines, as Anyscale does."""

    def __init__(self, config: Any) -> None:
        self._groups = [(dict(group.resources), group.max_count) for group in config.node_group_configs]
        self._bundles: list[Resources] = []

    def heed(self, bundles: list[Resources]) -> None:
        self._bundles = bundles

    def accepts(self) -> bool | None:
        each, most = self._bundles[0], 0.0
        for resources, count in self._groups:
            on_one = min(int(resources.get(name, 0) // amount) for name, amount in each.items())
            # -1: as many machines as one likes.
            most += on_one * (count if count >= 0 else float("inf")) if on_one else 0
        return most >= len(self._bundles)

    def coming(self) -> str:
        return ""


class Second:
    """Ray's autoscaler of today, which reports what it starts and what it never can.

    It answers for a cluster whose machines come by hand as well: that none can be started.
    """

    def __init__(self, gcs: GcsClient) -> None:
        self._gcs, self._asked_at = gcs, 0
        self._bundles: list[Resources] = []

    def heed(self, bundles: list[Resources]) -> None:
        self._bundles = bundles
        self._asked_at = self._status().cluster_resource_state.cluster_resource_state_version

    def accepts(self) -> bool | None:
        report = self._status().autoscaling_state
        if report.last_seen_cluster_resource_state_version < self._asked_at:
            return None
        for constraint in report.infeasible_cluster_resource_constraints:
            requests = constraint.resource_requests
            # With the wishes of other jobs among them it may be those that can't be had, or not now.
            if sum(request.count for request in requests) == len(self._bundles):
                return False
        return True

    def coming(self) -> str:
        report = self._status().autoscaling_state
        machines = sum(request.count for request in report.pending_instance_requests)
        machines += len(report.pending_instances)
        failed = [request.reason for request in report.failed_instance_requests if request.reason]
        starting = f"{machines} machine{'' if machines == 1 else 's'} starting" if machines else ""
        why = f"the last one failed: {failed[-1].strip().splitlines()[0][:120]}" if failed else ""
        # Together with the wishes of other jobs, or these would have been refused.
        full = (
            "not all that jobs ask for can be started"
            if report.infeasible_cluster_resource_constraints
            else ""
        )
        return ", ".join(filter(None, [starting, why, full]))

    def _status(self) -> Any:
        from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

        reply = GetClusterStatusReply()
        reply.ParseFromString(self._gcs.get_cluster_status(timeout_s=30))
        return reply


class First:
    """Ray's older autoscaler, which does not say what it can't do: it then starts nothing."""

    def __init__(self) -> None:
        self._bundles: list[Resources] = []
        self._idle: set[float] = set()
        """Times of the last reports that knew what is asked and started nothing."""

    def heed(self, bundles: list[Resources]) -> None:
        self._bundles = bundles

    def accepts(self) -> bool | None:
        status = _first_status()
        report = status.get("autoscaler_report", {})
        wishes = status.get("load_metrics_report", {}).get("request_demand", [])
        heard = any(bundle == dict(self._bundles[0]) for bundle, _ in wishes)
        busy = report.get("pending_launches") or report.get("pending_nodes") or report.get("failed_nodes")
        if busy or not heard:
            self._idle = set()
        else:
            self._idle.add(status["time"])
        return False if len(self._idle) >= REPORTS_TO_GIVE_UP else None

    def coming(self) -> str:
        report = _first_status().get("autoscaler_report", {})
        machines = sum(report.get("pending_launches", {}).values()) + len(report.get("pending_nodes", ()))
        failed = f"{len(report['failed_nodes'])} failed" if report.get("failed_nodes") else ""
        starting = f"{machines} machine{'' if machines == 1 else 's'} starting" if machines else ""
        return ", ".join(filter(None, [starting, failed]))


def _is_second(gcs: GcsClient) -> bool:
    from ray.autoscaler.v2.utils import is_autoscaler_v2

    return bool(is_autoscaler_v2(fetch_from_server=True, gcs_client=gcs))


def _first_status() -> dict[str, Any]:
    """What the older autoscaler reported last."""
    # ray._private.ray_constants.DEBUG_AUTOSCALING_STATUS
    text = _internal_kv_get("__autoscaling_status")
    status: dict[str, Any] = json.loads(text) if text else {}
    return status


def _first_report() -> dict[str, Any]:
    """Its report of machines; a cluster that has just started has none yet."""
    end = time.monotonic() + FIRST_REPORT_SECONDS
    while (report := _first_status().get("autoscaler_report")) is None and time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
    return report or {}
