"""What the application knows as a whole: quotas, sums of counters, jobs. One Ray actor beside the replicas,
on no CPU of its own."""

import asyncio
import json
import time
from typing import Any

from synthmill.runtime import cluster
from synthmill.serving.config import ServeArgs
from synthmill.serving.jobs import JobRecord, Jobs
from synthmill.serving.metrics import Series, Values, add_up, render
from synthmill.serving.quota import Ledger, Quota, Refusal
from synthmill.serving.ray_jobs import choose_runner

NAME = "state"
FRESH_SECONDS = 10.0


class StateActor:
    """The actor behind `service.SharedState`. After a crash quotas start afresh, counters come back with the
    next report of each living replica, and jobs are in the store."""

    def __init__(self, args: dict[str, Any], environment: dict[str, str]) -> None:
        cluster.adopt(environment)
        self._environment = environment
        settings = ServeArgs.model_validate(args)
        self._ledger = Ledger()
        self._counts: dict[str, Values] = {}
        self._gauges: dict[str, tuple[float, dict[str, float]]] = {}
        self._jobs = Jobs(
            settings.store,
            settings.storage,
            choose_runner,
            max_running=settings.limits.max_jobs,
            max_waiting=settings.limits.max_waiting_jobs,
        )
        self._watching: asyncio.Task[None] | None = None

    async def lease(
        self, key_id: str, quota: Quota, needs: dict[str, int], replica: str, unused: dict[str, int]
    ) -> dict[str, int] | Refusal:
        """See `Ledger.lease`."""
        return self._ledger.lease(key_id, quota, needs, replica, unused)

    async def report(
        self, replica: str, counts: Values, gauges: dict[str, float], unused: dict[str, dict[str, int]]
    ) -> None:
        """All that a replica has counted, its load, and leases it did not use."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._jobs.watch())
        self._counts[replica] = counts
        self._gauges[replica] = time.monotonic(), gauges
        for key_id, amounts in unused.items():
            self._ledger.give_back(key_id, amounts)

    async def metrics(self) -> str:
        """Everything, as text for Prometheus."""
        # Counters of a stopped replica stay, or the sums would fall; its load is gone with it.
        oldest = time.monotonic() - FRESH_SECONDS
        self._gauges = {replica: report for replica, report in self._gauges.items() if report[0] > oldest}
        loads = [{Series(name): value for name, value in load.items()} for _, load in self._gauges.values()]
        now = {Series("synthmill_replicas"): float(len(loads)), **add_up(loads)}
        for status, count in self._jobs.counts().items():
            now[Series("synthmill_jobs", (("status", status),))] = float(count)
        return render({**add_up(self._counts.values()), **now})

    async def submit(self, record: JobRecord) -> dict[str, Any]:
        """See `Jobs.submit`."""
        return await self._jobs.submit(record)

    async def job(self, job_id: str) -> dict[str, Any]:
        """See `Jobs.status`."""
        return await self._jobs.status(job_id)

    async def cancel(self, job_id: str) -> dict[str, Any]:
        """See `Jobs.cancel`."""
        return await self._jobs.cancel(job_id)

    async def environment(self) -> dict[str, str]:
        """What a submitted job must have in its environment; see job_entry.py."""
        return self._environment

    async def close(self) -> None:
        """Leave the jobs to the next state actor."""
        if self._watching is not None:
            self._watching.cancel()
        await self._jobs.close()


def plain(args: ServeArgs) -> dict[str, Any]:
    """Arguments as Ray Serve wants them: JSON data."""
    data: dict[str, Any] = json.loads(args.model_dump_json())
    return data
