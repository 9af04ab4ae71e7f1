"""What the application knows as a whole: quotas, sums of counters, jobs. One Ray actor beside the replicas,
on no CPU of its own."""

import asyncio
import json
import time
from typing import Any

import ray

from synthmill.runtime import cluster
from synthmill.serving.config import ServeArgs
from synthmill.serving.jobs import JobRecord, Jobs
from synthmill.serving.metrics import Series, Values, merge, render
from synthmill.serving.quota import Ledger, Quota, Refusal

NAME = "keeper"
FRESH_SECONDS = 10.0


class StateActor:
    """The actor. State lives as long as it does: after a crash quotas begin anew and counters at 0; jobs are
    in the store."""

    def __init__(self, args: dict[str, Any], environment: dict[str, str]) -> None:
        cluster.adopt(environment)
        settings = ServeArgs.model_validate(args)
        self._ledger = Ledger()
        self._totals: Values = {}
        self._gauges: dict[str, tuple[float, dict[str, float]]] = {}
        self._jobs = Jobs(
            settings.store,
            settings.storage,
            max_running=settings.limits.max_jobs,
            max_waiting=settings.limits.max_waiting_jobs,
            environment={"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
            if ray.is_initialized()
            else {},
        )
        self._watching: asyncio.Task[None] | None = None

    async def lease(
        self, key_id: str, quota: Quota, needs: dict[str, int], replica: str, unused: dict[str, int]
    ) -> dict[str, int] | Refusal:
        """See `Ledger.lease`."""
        return self._ledger.lease(key_id, quota, needs, replica, unused)

    async def report(
        self, replica: str, grown: Values, gauges: dict[str, float], unused: dict[str, dict[str, int]]
    ) -> None:
        """A replica's counters since its last report, its load, and leases it did not use."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._jobs.watch())
        merge(self._totals, grown)
        self._gauges[replica] = time.monotonic(), gauges
        for key_id, amounts in unused.items():
            self._ledger.give_back(key_id, amounts)

    async def metrics(self) -> str:
        """Everything, as text for Prometheus."""
        oldest = time.monotonic() - FRESH_SECONDS
        self._gauges = {replica: told for replica, told in self._gauges.items() if told[0] > oldest}
        now: Values = {Series("synthmill_replicas"): float(len(self._gauges))}
        for _, gauges in self._gauges.values():
            merge(now, {Series(name): value for name, value in gauges.items()})
        for status, count in self._jobs.counts().items():
            now[Series("synthmill_jobs", (("status", status),))] = float(count)
        return render({**self._totals, **now})

    async def submit(self, record: JobRecord) -> dict[str, Any]:
        """See `Jobs.submit`."""
        return await self._jobs.submit(record)

    async def job(self, job_id: str) -> dict[str, Any]:
        """See `Jobs.status`."""
        return await self._jobs.status(job_id)

    async def cancel(self, job_id: str) -> dict[str, Any]:
        """See `Jobs.cancel`."""
        return await self._jobs.cancel(job_id)

    async def close(self) -> None:
        """Interrupt jobs; the next keeper goes on with them."""
        if self._watching is not None:
            self._watching.cancel()
        await self._jobs.close()


def plain(args: ServeArgs) -> dict[str, Any]:
    """Arguments as Ray Serve wants them: JSON data."""
    data: dict[str, Any] = json.loads(args.model_dump_json())
    return data
