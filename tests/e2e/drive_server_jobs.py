"""Run as a submitted job on a cluster: `python tests/e2e/drive_server_jobs.py STORE`. Has a state actor
publish, cancel and take up jobs, and prints what it saw as one JSON line."""

import asyncio
import json
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import ray
from ray.job_submission import JobSubmissionClient

from synthmill.serving.config import ServeArgs
from synthmill.serving.jobs import JobRequest, new_job
from synthmill.serving.ray_jobs import RayJobRunner
from synthmill.serving.state import StateActor, plain

WAIT_SECONDS = 120.0
ENDLESS = 10**9


def wait_for(state: Any, job_id: str, *statuses: str) -> dict[str, Any]:
    """What the server says of a job that has one of these statuses."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        job: dict[str, Any] = ray.get(state.job.remote(job_id))
        if job["status"] in statuses:
            return job
        time.sleep(0.2)
    raise AssertionError(job)


def environment_of(job_id: str) -> str:
    """The environment of the command that runs a job."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_text().split("\0")
                if "synthmill.cli" in words and any(job_id in word for word in words):
                    return (path.parent / "environ").read_text()
            except OSError:
                continue
        time.sleep(0.1)
    raise AssertionError(f"nothing runs {job_id}")


def take_up(client: JobSubmissionClient, state_name: str, job_id: str) -> str:
    """The submission that another server's runner waits for."""

    async def story() -> str:
        runner = RayJobRunner(client, actor=state_name, namespace="test")
        task = asyncio.create_task(runner.run(job_id, ["--version"]))
        while not runner.is_running(job_id):
            await asyncio.sleep(0.1)
        submission = runner._submissions[job_id]
        task.cancel()
        return submission

    return asyncio.run(story())


def main(store: str) -> None:
    """Everything, on one cluster."""
    ray.init(namespace="test", runtime_env={"env_vars": {"PYTHONPATH": "platform"}})
    secret = secrets.token_hex(16)
    args = plain(ServeArgs(store=store, models=("customers",)))
    actor = ray.remote(StateActor).options(name="state", num_cpus=0)
    state = actor.remote(args, {"SYNTHMILL_TEST_SECRET": secret})

    def submit(dataset: str, rows: int) -> str:
        request = JobRequest(model="customers", rows=rows, dataset=dataset, seed=3)
        job: dict[str, Any] = ray.get(state.submit.remote(new_job(request, "customers@1", "0" * 12)))
        return str(job["id"])

    published = submit("published", 2000)
    done = wait_for(state, published, "done", "failed")
    endless = submit("endless", ENDLESS)
    wait_for(state, endless, "running")
    found = secret in environment_of(endless)
    client = JobSubmissionClient()
    taken_up = take_up(client, "state", endless)
    cancelled = ray.get(state.cancel.remote(endless))
    infos = {info.submission_id: info for info in client.list_jobs()}
    seen = {
        "done": done,
        "cancelled": cancelled,
        "secret_arrived": found,
        "secret_shown": any(secret in str(info) for info in infos.values()),
        "taken_up": taken_up,
        "statuses": {
            name: str(infos[f"{job_id}.1"].status)
            for name, job_id in (("published", published), ("endless", endless))
        },
        "submissions": [name for name in infos if str(name).startswith("job-")],
    }
    sys.stdout.write(f"SEEN {json.dumps(seen)}\n")


if __name__ == "__main__":
    main(sys.argv[1])
