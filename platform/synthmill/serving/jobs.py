"""Datasets too large for a connection: `POST /v1/jobs` runs the augment command as a process of its own and
keeps its papers in the store.

<store>/jobs/<id>/request.json     what was asked, by which key
<store>/jobs/<id>/result.json      the command's closing line, written by the command itself
<store>/jobs/<id>/cancelled.json   written when somebody cancelled it
<store>/jobs/<id>/alive.json       rewritten every few seconds by the keeper that has it

What a job is doing follows from these and from whether its process runs. A job without a living keeper is
taken up by the next one: the same request goes on where it stopped, keeping whole parts.
"""

import asyncio
import ctypes
import json
import logging
import os
import re
import signal
import sys
import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, field_validator

import synthmill
from synthmill.config import NAME_PATTERN, FrozenModel, StorageConfig, parse_model
from synthmill.errors import MissingError, NotFoundError, StorageError, UserError
from synthmill.serving.batching import BusyError
from synthmill.serving.requests import as_texts
from synthmill.storage.folder import Folder

Status = Literal["queued", "running", "done", "failed", "cancelled"]
COMMAND = (sys.executable, "-m", "synthmill.cli")
JOB_ID = re.compile(r"^job-[0-9a-f]{24}$")
STOP_SECONDS = 20.0
ALIVE_SECONDS = 10.0
LOST_SECONDS = 45.0
PR_SET_PDEATHSIG = 1
RETRY_SECONDS = 30
log = logging.getLogger("ray.serve")


class JobRequest(FrozenModel):
    """What to publish: the options of `synthmill augment` that a client may set."""

    model: str
    """`name` or `name@number`."""
    rows: int = Field(ge=1, le=10**12)
    """Rows of the dataset."""
    dataset: str = Field(pattern=NAME_PATTERN, max_length=100)
    """Name of the dataset; a new version of it is published."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Same seed, model and rows: same bytes."""
    where: tuple[str, ...] = Field((), max_length=16)
    """Conditions, joined by AND: `income=>50K`, `age>=40`, or objects as for rows."""
    balance: str | None = None
    """Equalise the classes of this column."""
    columns: tuple[str, ...] | None = Field(None, max_length=1000)
    """Columns to publish; null: all."""
    require: Literal["pass"] | None = None
    """pass: publish only if the quality gates pass."""
    workers: int = Field(1, ge=1, le=1024)
    """Writing processes, one CPU each."""

    @field_validator("where", mode="before")
    @classmethod
    def _from_objects(cls, value: Any) -> Any:
        return as_texts(value)

    def arguments(self, model_ref: str) -> list[str]:
        """The command line after `augment`; `--name=value` throughout, so that no value is taken for an
        option."""
        pairs = {
            "model": model_ref,
            "rows": self.rows,
            "dataset": self.dataset,
            "seed": self.seed,
            "workers": self.workers,
        }
        given = [f"--{name}={value}" for name, value in pairs.items()]
        given += [f"--where={clause}" for clause in self.where]
        given += [f"--balance={self.balance}"] if self.balance is not None else []
        given += [f"--columns={','.join(self.columns)}"] if self.columns is not None else []
        return given + ([f"--require={self.require}"] if self.require else [])


class JobRecord(FrozenModel):
    """`request.json`."""

    format: Literal["synthmill.job/1"] = "synthmill.job/1"
    id: str
    key: str
    """Id of the key that asked; others with the scope see the job too, but not who asked."""
    created: datetime
    model: str
    """The version, resolved when the job was accepted."""
    request: JobRequest


def new_job(request: JobRequest, model_ref: str, key_id: str) -> JobRecord:
    """A record with a fresh id."""
    return JobRecord(
        id=f"job-{uuid.uuid4().hex[:24]}",
        key=key_id,
        created=datetime.now(UTC),
        model=model_ref,
        request=request,
    )


class Jobs:
    """The queue and the processes. One of these for the whole application."""

    def __init__(
        self,
        store_uri: str,
        storage: StorageConfig,
        *,
        max_running: int,
        max_waiting: int,
        environment: dict[str, str],
    ) -> None:
        self._store_uri = store_uri
        self._folder = Folder(store_uri, storage).child("jobs")
        self._storage = storage
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._environment = environment
        self._waiting: deque[JobRecord] = deque()
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[str] = set()
        self._arriving = 0
        self._settled: set[str] = set()
        """Jobs that `resume` need not look at again: finished, cancelled, or of a record that can't be
        understood."""

    async def watch(self) -> None:
        """For ever: say that this keeper's jobs are alive, and take up those whose keeper is gone."""
        while True:
            try:
                await asyncio.to_thread(
                    self._say_alive, [*self._tasks, *(record.id for record in self._waiting)]
                )
                await self.resume()
            except StorageError as fault:
                # It may be there the next time.
                log.warning("jobs: %s", fault)
            except Exception:
                log.exception("jobs: looking after them failed; it goes on")
            await asyncio.sleep(ALIVE_SECONDS)

    async def resume(self) -> None:
        """Queue what was accepted, is neither finished nor cancelled, and has no living keeper."""
        for record in await asyncio.to_thread(self._abandoned):
            if record.id not in self._tasks and not self._waits(record.id):
                self._waiting.append(record)
        self._start()

    async def submit(self, record: JobRecord) -> dict[str, Any]:
        """Accept a job.

        Raises:
            BusyError: too many wait.
        """
        free = max(0, self._max_running - len(self._tasks))
        if len(self._waiting) + self._arriving >= self._max_waiting + free:
            raise BusyError(f"{self._max_waiting} jobs wait already, the most that may", RETRY_SECONDS)
        folder = self._folder.child(record.id)
        self._arriving += 1
        try:
            await asyncio.to_thread(folder.write_json, "alive.json", {})
            await asyncio.to_thread(folder.write_json, "request.json", record.model_dump(mode="json"))
        finally:
            self._arriving -= 1
        self._waiting.append(record)
        self._start()
        return await self.status(record.id)

    async def status(self, job_id: str) -> dict[str, Any]:
        """What a job is doing.

        Raises:
            NotFoundError: no such job.
            StorageError: the store can't be read.
        """
        papers = await asyncio.to_thread(self._papers, job_id) if JOB_ID.match(job_id) else {}
        if not papers.get("request"):
            raise NotFoundError(f"no job {job_id[:80]!r}", field="id")
        record = parse_model(JobRecord, papers["request"])
        return describe(record, papers, running=job_id in self._running)

    async def cancel(self, job_id: str) -> dict[str, Any]:
        """Stop a job that waits or runs; one that is finished stays as it is."""
        told = await self.status(job_id)
        if told["status"] in ("queued", "running"):
            now = datetime.now(UTC).isoformat()
            await asyncio.to_thread(
                self._folder.child(job_id).write_json, "cancelled.json", {"cancelled": now}
            )
            self._waiting = deque(record for record in self._waiting if record.id != job_id)
            await self._stop(job_id)
        return await self.status(job_id)

    def counts(self) -> dict[str, int]:
        """Jobs that wait and that run."""
        return {"queued": len(self._waiting), "running": len(self._tasks)}

    async def close(self) -> None:
        """Interrupt every process; the jobs are taken up again by `resume`."""
        self._waiting.clear()
        await asyncio.gather(*(self._stop(job_id) for job_id in list(self._tasks)))

    def _say_alive(self, job_ids: list[str]) -> None:
        for job_id in job_ids:
            self._folder.child(job_id).write_json("alive.json", {})

    def _abandoned(self) -> list[JobRecord]:
        found = []
        for job_id in self._folder.children():
            if job_id not in self._settled and JOB_ID.match(job_id):
                try:
                    found += self._if_abandoned(job_id)
                except StorageError as fault:
                    log.warning("jobs: %s is left alone for now: %s", job_id, fault)
                except UserError as fault:
                    self._settled.add(job_id)
                    log.warning("jobs: %s is left alone: request.json: %s", job_id, fault)
        return found

    def _if_abandoned(self, job_id: str) -> list[JobRecord]:
        papers = self._papers(job_id)
        age = self._folder.child(job_id).age_seconds("alive.json")
        if papers["result"] or papers["cancelled"]:
            self._settled.add(job_id)
        elif papers["request"] and (age is None or age > LOST_SECONDS):
            return [parse_model(JobRecord, papers["request"])]
        return []

    def _waits(self, job_id: str) -> bool:
        return any(record.id == job_id for record in self._waiting)

    def _start(self) -> None:
        while self._waiting and len(self._tasks) < self._max_running:
            record = self._waiting.popleft()
            self._tasks[record.id] = asyncio.create_task(self._run(record))

    async def _run(self, record: JobRecord) -> None:
        try:
            code, errors = await self._execute(record)
            # One that this keeper stopped has failed at nothing: it is cancelled, or the next keeper goes on
            # with it.
            if record.id not in self._stopping:
                await asyncio.to_thread(self._note_failure, record.id, code, errors)
        finally:
            self._running.pop(record.id, None)
            self._tasks.pop(record.id, None)
            self._stopping.discard(record.id)
            self._start()

    async def _execute(self, record: JobRecord) -> tuple[int, str]:
        result_file = self._folder.child(record.id).uri_of("result.json")
        command = [*COMMAND, "augment", f"--store={self._store_uri}", f"--result-file={result_file}"]
        command += [*record.request.arguments(record.model), *self._settings()]
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, **self._environment, "PYTHONPATH": _python_path()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        self._running[record.id] = process
        if record.id in self._stopping:
            _signal(process.terminate)
        _, errors = await process.communicate()
        return process.returncode or 0, errors.decode(errors="replace")

    async def _stop(self, job_id: str) -> None:
        """SIGTERM, and SIGKILL to the whole session for one that does not go."""
        task = self._tasks.get(job_id)
        if task is None:
            return
        self._stopping.add(job_id)
        if job_id in self._running:
            _signal(self._running[job_id].terminate)
        try:
            await asyncio.wait_for(asyncio.shield(task), STOP_SECONDS)
        except TimeoutError:
            process = self._running[job_id]
            _signal(lambda: os.killpg(process.pid, signal.SIGKILL))
            await task

    def _settings(self) -> list[str]:
        changed = self._storage.model_dump(mode="json", exclude_defaults=True)
        return [f"--set=storage.{name}={json.dumps(value)}" for name, value in changed.items()]

    def _note_failure(self, job_id: str, code: int, errors: str) -> None:
        """A process that ended without its closing line (killed, out of memory) still needs one."""
        folder = self._folder.child(job_id)
        if code and not folder.exists("result.json") and not folder.exists("cancelled.json"):
            last = errors.strip().splitlines()[-1:] or [f"the process ended with {code}"]
            folder.write_json("result.json", {"status": "failed", "error": last[0][:500], "exit_code": code})

    def _papers(self, job_id: str) -> dict[str, Any]:
        folder, found = self._folder.child(job_id), {}
        for paper in ("request", "result", "cancelled"):
            try:
                found[paper] = folder.read_json(f"{paper}.json")
            except MissingError:
                found[paper] = None
            if not isinstance(found[paper], dict | None):
                raise StorageError(f"{folder.uri_of(f'{paper}.json')}: not a JSON object")
        # A command that its keeper interrupted is not finished: another keeper goes on with it.
        if (found["result"] or {}).get("status") == "interrupted":
            found["result"] = None
        return found


def describe(record: JobRecord, papers: dict[str, Any], *, running: bool) -> dict[str, Any]:
    """A job as the API tells it."""
    result = papers.get("result") or {}
    status: Status = "running" if running else "queued"
    if papers.get("cancelled"):
        status = "cancelled"
    elif result:
        status = "done" if result.get("status") == "done" else "failed"
    told = {
        key: value
        for key, value in result.items()
        if key in ("dataset", "uri", "rows", "content_digest", "verdict", "error")
    }
    return {
        "object": "job",
        "id": record.id,
        "status": status,
        "created": record.created.isoformat(),
        "model": record.model,
        "request": record.request.model_dump(mode="json"),
        "result": told or None,
    }


def _python_path() -> str:
    root = os.path.dirname(next(iter(synthmill.__path__)))  # noqa: PTH120
    return os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])


def _die_with_parent() -> None:
    """In the child: a keeper that is killed takes its jobs with it; whoever resumes them must not find them
    running."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _signal(send: Callable[[], None]) -> None:
    try:
        send()
    except ProcessLookupError:
        return
