"""Datasets too large for a connection: `POST /v1/jobs` runs the augment command, as a Ray job or as a process
of its own (job_runners.py), and records what is known of it in the store.

<store>/jobs/<id>/request.json     what was requested, by which key
<store>/jobs/<id>/result.json      the command's closing line, written by the command itself
<store>/jobs/<id>/cancelled.json   written when somebody cancelled it
<store>/jobs/<id>/alive.json       rewritten every few seconds by the server that owns it

What a job is doing follows from these and from whether its command runs. A job whose owner is gone is taken
up by the next server: it waits for a command that still runs, or runs the same request again, which resumes
where it stopped, with the parts that are whole.
"""

import asyncio
import contextlib
import json
import logging
import re
import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, field_validator

from synthmill.config import NAME_PATTERN, FrozenModel, StorageConfig, parse_model
from synthmill.errors import MissingError, NotFoundError, StorageError, UserError
from synthmill.serving.batching import BusyError
from synthmill.serving.job_runners import Outcome, Runner
from synthmill.serving.requests import as_texts
from synthmill.storage.folder import Folder

Status = Literal["queued", "running", "done", "failed", "cancelled"]
JOB_ID = re.compile(r"^job-[0-9a-f]{24}$")
STOP_SECONDS = 20.0
"""Time to heed a request to stop, before a command is killed."""
ALIVE_SECONDS = 10.0
LOST_SECONDS = 45.0
"""Four missed signs of life: a slow store delays some of them."""
RETRY_SECONDS = 30
"""What a client that is refused should wait."""
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
        options = [f"--{name}={value}" for name, value in pairs.items()]
        options += [f"--where={clause}" for clause in self.where]
        options += [f"--balance={self.balance}"] if self.balance is not None else []
        options += [f"--columns={','.join(self.columns)}"] if self.columns is not None else []
        return options + ([f"--require={self.require}"] if self.require else [])


class JobRecord(FrozenModel):
    """`request.json`."""

    format: Literal["synthmill.job/1"] = "synthmill.job/1"
    id: str
    key: str
    """Id of the key that requested it; others with the scope see the job too, but not whose it is."""
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
    """The queue and the commands. One of these for the whole application."""

    def __init__(
        self,
        store_uri: str,
        storage: StorageConfig,
        choose_runner: Callable[[], Runner],
        *,
        max_running: int,
        max_waiting: int,
    ) -> None:
        self._store_uri = store_uri
        self._folder = Folder(store_uri, storage).child("jobs")
        self._storage = storage
        self._choose_runner = choose_runner
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._waiting: deque[JobRecord] = deque()
        self._runners: dict[str, Runner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[str] = set()
        self._arriving = 0
        self._settled: set[str] = set()
        """Jobs that `resume` need not look at again: finished, cancelled, or of a record that can't be
        understood."""

    async def watch(self) -> None:
        """For ever: say that this server's jobs are alive, and take up those whose owner is gone."""
        while True:
            try:
                # Listed here, on the event loop: on a thread the dictionary could change meanwhile.
                owned = [*self._tasks, *(record.id for record in self._waiting)]
                await asyncio.to_thread(self._say_alive, owned)
                await self.resume()
            except StorageError as fault:
                # It may be there the next time.
                log.warning("jobs: %s", fault)
            except Exception:
                log.exception("jobs: looking after them failed; the next round follows")
            await asyncio.sleep(ALIVE_SECONDS)

    async def resume(self) -> None:
        """Queue what was accepted, is neither finished nor cancelled, and has no living owner."""
        for record in await asyncio.to_thread(self._abandoned):
            if record.id not in self._tasks and all(record.id != waiting.id for waiting in self._waiting):
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
        # Those whose record is being written count already: many may come before the first is written.
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
        documents = await asyncio.to_thread(self._documents, job_id) if JOB_ID.match(job_id) else {}
        if not documents.get("request"):
            raise NotFoundError(f"no job {job_id[:80]!r}", field="id")
        runner = self._runners.get(job_id)
        running = runner is not None and runner.is_running(job_id)
        said = await runner.said(job_id) if runner is not None and running else None
        return describe(parse_model(JobRecord, documents["request"]), documents, running=running, said=said)

    async def cancel(self, job_id: str) -> dict[str, Any]:
        """Stop a job that waits or runs; one that is finished stays as it is."""
        job = await self.status(job_id)
        if job["status"] in ("queued", "running"):
            # First the mark: whoever takes the job up after this server must not run it again.
            now = datetime.now(UTC).isoformat()
            folder = self._folder.child(job_id)
            await asyncio.to_thread(folder.write_json, "cancelled.json", {"cancelled": now})
            self._waiting = deque(record for record in self._waiting if record.id != job_id)
            await self._stop(job_id)
        return await self.status(job_id)

    def counts(self) -> dict[str, int]:
        """Jobs that wait and that run."""
        return {"queued": len(self._waiting), "running": len(self._tasks)}

    async def close(self) -> None:
        """Interrupt commands that would end with this process, and leave the others; `resume` takes them all
        up again."""
        self._waiting.clear()

        async def let_go(job_id: str) -> None:
            runner = self._runners.get(job_id)
            if runner is None or not runner.outlives_us:
                await self._stop(job_id)
                return
            task = self._tasks[job_id]
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        # Together: each command may take its whole grace period.
        await asyncio.gather(*(let_go(job_id) for job_id in list(self._tasks)))

    def _say_alive(self, job_ids: list[str]) -> None:
        for job_id in job_ids:
            self._folder.child(job_id).write_json("alive.json", {})

    def _abandoned(self) -> list[JobRecord]:
        """Records of jobs that nobody looks after; one that can't be read stops no other."""
        abandoned = []
        # `_settled` spares most of the requests: a store has many old jobs.
        for job_id in self._folder.children():
            if job_id not in self._settled and JOB_ID.match(job_id):
                try:
                    abandoned += self._if_abandoned(job_id)
                except StorageError as fault:
                    log.warning("jobs: %s is left alone for now: %s", job_id, fault)
                except UserError as fault:
                    self._settled.add(job_id)
                    log.warning("jobs: %s is left alone: request.json: %s", job_id, fault)
        return abandoned

    def _if_abandoned(self, job_id: str) -> list[JobRecord]:
        documents = self._documents(job_id)
        age = self._folder.child(job_id).age_seconds("alive.json")
        if documents["result"] or documents["cancelled"]:
            self._settled.add(job_id)
        elif documents["request"] and (age is None or age > LOST_SECONDS):
            return [parse_model(JobRecord, documents["request"])]
        return []

    def _start(self) -> None:
        while self._waiting and len(self._tasks) < self._max_running:
            record = self._waiting.popleft()
            self._tasks[record.id] = asyncio.create_task(self._run(record))

    async def _run(self, record: JobRecord) -> None:
        try:
            # Chosen for each job: a cluster's dashboard may come, and go, while this server runs.
            runner = self._runners[record.id] = await asyncio.to_thread(self._choose_runner)
            if record.id in self._stopping:
                await runner.stop(record.id)
            outcome = await runner.run(record.id, self._arguments(record))
            # A command that this server stopped has not failed: it is cancelled, or another one resumes it.
            if record.id not in self._stopping:
                await asyncio.to_thread(self._note_failure, record.id, outcome)
        except Exception as fault:
            log.exception("jobs: %s could not be run", record.id)
            await asyncio.to_thread(
                self._note_failure, record.id, Outcome(3, f"it could not be run: {fault}")
            )
        finally:
            self._runners.pop(record.id, None)
            self._tasks.pop(record.id, None)
            self._stopping.discard(record.id)
            self._start()

    def _arguments(self, record: JobRecord) -> list[str]:
        """The command line, after the name of the program."""
        result_file = self._folder.child(record.id).uri_of("result.json")
        changed = self._storage.model_dump(mode="json", exclude_defaults=True)
        settings = [f"--set=storage.{name}={json.dumps(value)}" for name, value in changed.items()]
        places = [f"--store={self._store_uri}", f"--result-file={result_file}"]
        return ["augment", *places, *record.request.arguments(record.model), *settings]

    async def _stop(self, job_id: str) -> None:
        """Ask the command to end, and end one that does not."""
        task = self._tasks.get(job_id)
        if task is None:
            return
        self._stopping.add(job_id)
        if job_id in self._runners:
            await self._runners[job_id].stop(job_id)
        try:
            await asyncio.wait_for(asyncio.shield(task), STOP_SECONDS)
        except TimeoutError:
            if job_id in self._runners:
                await self._runners[job_id].kill(job_id)
            await task

    def _note_failure(self, job_id: str, outcome: Outcome) -> None:
        """A command that ended without its closing line (killed, out of memory) still needs one."""
        folder = self._folder.child(job_id)
        if outcome.exit_code and not folder.exists("result.json") and not folder.exists("cancelled.json"):
            last = outcome.errors.strip().splitlines()[-1:] or [f"the process ended with {outcome.exit_code}"]
            failure = {"status": "failed", "error": last[0][:500], "exit_code": outcome.exit_code}
            folder.write_json("result.json", failure)

    def _documents(self, job_id: str) -> dict[str, Any]:
        """A job's documents in the store: request, result, cancelled; None for what is not there."""
        folder, documents = self._folder.child(job_id), {}
        for name in ("request", "result", "cancelled"):
            try:
                documents[name] = folder.read_json(f"{name}.json")
            except MissingError:
                documents[name] = None
            if not isinstance(documents[name], dict | None):
                raise StorageError(f"{folder.uri_of(f'{name}.json')}: not a JSON object")
        # A command that its server interrupted is not finished: another server resumes it.
        if (documents["result"] or {}).get("status") == "interrupted":
            documents["result"] = None
        return documents


def describe(
    record: JobRecord, documents: dict[str, Any], *, running: bool, said: str | None = None
) -> dict[str, Any]:
    """A job as the API shows it; `said`: the last line of its command."""
    result = documents.get("result") or {}
    status: Status = "running" if running else "queued"
    if documents.get("cancelled"):
        status = "cancelled"
    elif result:
        status = "done" if result.get("status") == "done" else "failed"
    shown = ("dataset", "uri", "rows", "content_digest", "verdict", "error")
    return {
        "object": "job",
        "id": record.id,
        "status": status,
        "message": said if status == "running" else None,
        "created": record.created.isoformat(),
        "model": record.model,
        "request": record.request.model_dump(mode="json"),
        "result": {key: value for key, value in result.items() if key in shown} or None,
    }
