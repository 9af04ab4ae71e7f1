"""Jobs of `POST /v1/jobs` as Ray jobs: they stand on the dashboard with their logs, and go on when the server
that started them does not."""

import asyncio
import logging
import shlex
import sys
from typing import Any

import ray
from ray.exceptions import RayError

from synthmill.serving.job_runners import Outcome, ProcessRunner, Runner, last_said, python_path

POLL_SECONDS = 1.0
LOST_AFTER = 30
"""Looks in a row at which nobody knows the job, or nobody answers, before it counts as lost."""
INHERITED = ("working_dir", "pip", "uv", "conda", "container", "image_uri")
"""Parts of this actor's runtime environment that a job needs too: where the package and its requirements come
from."""
log = logging.getLogger("ray.serve")


def choose_runner() -> Runner:
    """The cluster's job server where there is one, else processes of this machine. Blocks: called on a
    thread."""
    client = _find_client()
    if client is None:
        return ProcessRunner()
    context = ray.get_runtime_context()
    return RayJobRunner(client, actor=context.get_actor_name() or "", namespace=context.namespace)


def _find_client() -> Any | None:
    """A client of the cluster's job server, which sends the cluster's token by itself; None without one."""
    if not ray.is_initialized():
        return None
    url = _dashboard_url()
    if url is None:
        return None
    try:
        from ray.job_submission import JobSubmissionClient

        return JobSubmissionClient(url)
    # The client raises whatever its HTTP library does, and RuntimeError for a server that refuses.
    except Exception as fault:
        line = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
        log.warning("jobs run as processes of this machine, not as Ray jobs: %s", line)
        return None


def _dashboard_url() -> str | None:
    """Where this cluster's dashboard answers; None when it has none, as where Ray was started by
    `synthmill serve`."""
    try:
        from ray._private import ray_constants
        from ray.experimental import internal_kv

        # One look: the client's own tries for 20 s where there is no dashboard.
        key, namespace = ray_constants.DASHBOARD_ADDRESS, ray_constants.KV_NAMESPACE_DASHBOARD
        address = internal_kv._internal_kv_get(key, namespace=namespace)
    except (ImportError, AttributeError):
        # Another Ray: the client looks it up.
        return str(ray.get_runtime_context().gcs_address)
    return f"http://{address.decode()}" if address else None


class RayJobRunner:
    """Runs commands through Ray's job server. The submission's id is the job's, with the number of the
    attempt."""

    outlives_us = True

    def __init__(self, client: Any, *, actor: str, namespace: str) -> None:
        self._client = client
        self._actor = actor
        self._namespace = namespace
        self._submissions: dict[str, str] = {}
        self._running: set[str] = set()
        self._stopping: set[str] = set()

    async def run(self, job_id: str, arguments: list[str]) -> Outcome:
        """See `Runner`."""
        try:
            submission = await asyncio.to_thread(self._attach_or_submit, job_id, arguments)
            self._submissions[job_id] = submission
            if job_id in self._stopping:
                await self.stop(job_id)
            return await self._wait(job_id, submission)
        finally:
            self._submissions.pop(job_id, None)
            self._running.discard(job_id)
            self._stopping.discard(job_id)

    def is_running(self, job_id: str) -> bool:
        """See `Runner`."""
        return job_id in self._running

    async def said(self, job_id: str) -> str | None:
        """See `Runner`."""
        submission = self._submissions.get(job_id)
        if submission is None:
            return None
        try:
            logs = await asyncio.to_thread(self._client.get_job_logs, submission)
        except (RuntimeError, OSError, RayError):
            return None
        return last_said(logs.encode().split(b"\n"))

    async def stop(self, job_id: str) -> None:
        """See `Runner`. Ray sends SIGTERM, and SIGKILL three seconds later."""
        self._stopping.add(job_id)
        if job_id in self._submissions:
            await asyncio.to_thread(self._client.stop_job, self._submissions[job_id])

    async def kill(self, job_id: str) -> None:
        """See `Runner`."""
        await self.stop(job_id)

    def _attach_or_submit(self, job_id: str, arguments: list[str]) -> str:
        """The id of the submission that runs the job: one that an earlier server left running, or a new
        one."""
        # Ray takes a submission's id only once, so each attempt has its own.
        attempt = 1
        while (status := self._status(f"{job_id}.{attempt}")) is not None:
            if not status.is_terminal():
                return f"{job_id}.{attempt}"
            attempt += 1
        entry = [sys.executable, "-m", "synthmill.serving.job_entry", self._actor, self._namespace]
        ours = ray.get_runtime_context().runtime_env
        inherited = {name: ours[name] for name in INHERITED if ours.get(name)}
        variables = {**(ours.get("env_vars") or {}), "PYTHONPATH": python_path()}
        submission: str = self._client.submit_job(
            entrypoint=shlex.join([*entry, *arguments]),
            submission_id=f"{job_id}.{attempt}",
            runtime_env={**inherited, "env_vars": variables},
            metadata={"synthmill": job_id},
        )
        return submission

    def _status(self, submission: str) -> Any | None:
        """What Ray says of a submission; None when it knows none of that id."""
        try:
            return self._client.get_job_status(submission)
        except RuntimeError as fault:
            if "404" in str(fault) or "does not exist" in str(fault):
                return None
            raise

    async def _wait(self, job_id: str, submission: str) -> Outcome:
        """Look until the command has ended; a dashboard that restarts is waited for."""
        failures = 0
        while failures < LOST_AFTER:
            try:
                info = await asyncio.to_thread(self._client.get_job_info, submission)
            except (RuntimeError, OSError, RayError):
                # The dashboard restarts with the head node, and the job goes on meanwhile.
                failures += 1
            else:
                failures = 0
                if info.status.is_terminal():
                    return await asyncio.to_thread(self._outcome, submission, info)
                if str(info.status) == "RUNNING":
                    self._running.add(job_id)
            await asyncio.sleep(POLL_SECONDS)
        return Outcome(3, "Ray's job server no longer knows this job")

    def _outcome(self, submission: str, info: Any) -> Outcome:
        if str(info.status) == "SUCCEEDED":
            return Outcome(0, "")
        # The command's own last line says more than Ray's "exit code 2".
        lines = [line for line in self._client.get_job_logs(submission).splitlines() if line.strip()]
        return Outcome(info.driver_exit_code or 1, lines[-1] if lines else info.message or "")
