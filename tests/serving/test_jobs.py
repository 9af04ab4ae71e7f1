import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from processes import until
from synthmill.config import StorageConfig
from synthmill.errors import NotFoundError, StorageError
from synthmill.serving import job_runners
from synthmill.serving import jobs as module
from synthmill.serving.batching import BusyError
from synthmill.serving.job_runners import ProcessRunner, last_said
from synthmill.serving.jobs import JobRequest, Jobs, new_job
from synthmill.storage.folder import Folder

REQUEST = JobRequest(model="customers", rows=10, dataset="out")
WORKER = """
import json, os, pathlib, signal, sys, time
result = next(a for a in sys.argv if a.startswith("--result-file=")).partition("file://")[2]
rows = next(a for a in sys.argv if a.startswith("--rows=")).partition("=")[2]
folder = pathlib.Path(result).parent
if rows == "2": print("joining", "x" * 100000, "waiting for machines: 0 of 4 there", sep="\\n", flush=True)
(folder / "started").write_text(str(os.getpid()))
if rows == "1": sys.exit("no memory")
while rows == "4" and not (folder / "go").exists(): time.sleep(0.01)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
while rows == "2" and not (folder / "go").exists(): time.sleep(0.01)
pathlib.Path(result).write_text(json.dumps({"status": "done", "dataset": "out@1", "rows": int(rows), "arguments": sys.argv[1:]}))
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command in place of ours: rows=1 fails, rows=2 waits for a file `go`, rows=4 too and dies of SIGTERM,
    others finish at once."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setattr(job_runners, "COMMAND", (sys.executable, str(script)))
    return script


def queue(store: Path, **changed: Any) -> Jobs:
    return Jobs(
        str(store), StorageConfig(), ProcessRunner, **{"max_running": 1, "max_waiting": 10, **changed}
    )


@asynccontextmanager
async def closing(jobs: Jobs) -> AsyncIterator[Jobs]:
    """Ends the processes also of a test that fails; asyncio would wait for them."""
    try:
        yield jobs
    finally:
        await jobs.close()


async def finished(jobs: Jobs, job_id: str) -> dict[str, Any]:
    for _ in range(1000):
        told = await jobs.status(job_id)
        if told["status"] in ("done", "failed", "cancelled"):
            return told
        await asyncio.sleep(0.02)
    raise AssertionError(told)


async def running(jobs: Jobs, job_id: str, store: Path) -> None:
    await asyncio.to_thread(until, (store / "jobs" / job_id / "started").exists, seconds=20)
    # The child may be there before its parent was told that it started it.
    for _ in range(1000):
        told = await jobs.status(job_id)
        if told["status"] != "queued":
            break
        await asyncio.sleep(0.02)
    assert told["status"] == "running"


def ask(rows: int = 10) -> Any:
    return new_job(REQUEST.model_copy(update={"rows": rows}), "customers@1", "key")


def test_a_job_runs_the_command_and_keeps_its_result(worker: Path, tmp_path: Path):
    async def story() -> tuple[dict[str, Any], dict[str, Any]]:
        jobs = queue(tmp_path)
        first = await jobs.submit(ask())
        done = await finished(jobs, first["id"])
        await jobs.close()
        return first, done

    first, done = asyncio.run(story())
    assert first["status"] in ("queued", "running")
    assert done["status"] == "done"
    assert done["model"] == "customers@1"
    assert done["result"] == {"dataset": "out@1", "rows": 10}
    arguments = json.loads((tmp_path / "jobs" / done["id"] / "result.json").read_text())["arguments"]
    assert arguments[0] == "augment"
    assert "--model=customers@1" in arguments
    assert f"--store={tmp_path}" in arguments


def test_values_are_never_taken_for_options():
    request = JobRequest(
        model="m",
        rows=1,
        dataset="d",
        where=("--rows=999", "a=b"),
        balance="--mix-real",
        columns=("--x", "y"),
        require="pass",
    )
    arguments = request.arguments("m@1")
    assert "--where=--rows=999" in arguments
    assert "--balance=--mix-real" in arguments
    assert "--columns=--x,y" in arguments
    assert "--mix-real" not in arguments


def test_what_a_running_command_said_last_is_told(worker: Path, tmp_path: Path):
    async def story() -> tuple[dict[str, Any], dict[str, Any]]:
        async with closing(queue(tmp_path)) as jobs:
            first = await jobs.submit(ask(rows=2))
            for _ in range(1000):
                told = await jobs.status(first["id"])
                if told["message"] == "waiting for machines: 0 of 4 there":
                    break
                await asyncio.sleep(0.02)
            (tmp_path / "jobs" / first["id"] / "go").touch()
            return told, await finished(jobs, first["id"])

    told, done = asyncio.run(story())
    assert told["status"] == "running"
    assert told["message"] == "waiting for machines: 0 of 4 there"
    assert done["message"] is None


def test_of_what_a_command_says_the_last_line_for_people_is_told():
    assert last_said([]) is None
    assert last_said([b"12 of 40", b"", b'{"status": "done"}']) == "12 of 40"
    assert last_said([b"\xff" * 600]) == "\ufffd" * 500


def test_a_command_that_ends_without_a_word_has_failed(worker: Path, tmp_path: Path):
    async def story() -> dict[str, Any]:
        jobs = queue(tmp_path)
        told = await finished(jobs, (await jobs.submit(ask(rows=1)))["id"])
        await jobs.close()
        return told

    told = asyncio.run(story())
    assert told["status"] == "failed"
    assert told["result"] == {"error": "no memory"}


def test_jobs_wait_for_their_turn_and_too_many_are_refused(worker: Path, tmp_path: Path):
    async def story() -> None:
        jobs = queue(tmp_path, max_waiting=1)
        first, second = await jobs.submit(ask(rows=2)), await jobs.submit(ask(rows=3))
        await running(jobs, first["id"], tmp_path)
        assert (await jobs.status(second["id"]))["status"] == "queued"
        assert jobs.counts() == {"queued": 1, "running": 1}
        with pytest.raises(BusyError, match="1 jobs wait already"):
            await jobs.submit(ask())
        (tmp_path / "jobs" / first["id"] / "go").touch()
        assert (await finished(jobs, second["id"]))["status"] == "done"
        await jobs.close()

    asyncio.run(story())


def test_cancelling_stops_what_runs_and_drops_what_waits(worker: Path, tmp_path: Path):
    async def story() -> None:
        jobs = queue(tmp_path)
        first, second = await jobs.submit(ask(rows=2)), await jobs.submit(ask(rows=2))
        await running(jobs, first["id"], tmp_path)
        assert (await jobs.cancel(second["id"]))["status"] == "cancelled"
        assert (await jobs.cancel(first["id"]))["status"] == "cancelled"
        assert jobs.counts() == {"queued": 0, "running": 0}
        pid = (tmp_path / "jobs" / first["id"] / "started").read_text()
        assert not Path(f"/proc/{pid}").exists()
        await jobs.close()

    asyncio.run(story())


def test_a_finished_job_can_not_be_cancelled(worker: Path, tmp_path: Path):
    async def story() -> str:
        jobs = queue(tmp_path)
        told = await finished(jobs, (await jobs.submit(ask()))["id"])
        await jobs.close()
        return (await jobs.cancel(told["id"]))["status"]

    assert asyncio.run(story()) == "done"


@pytest.mark.parametrize("job_id", ["job-" + "0" * 24, "nothing", "..", "../../etc", "job-" + "g" * 24])
def test_no_such_job(tmp_path: Path, job_id: str):
    with pytest.raises(NotFoundError, match="id: no job"):
        asyncio.run(queue(tmp_path).status(job_id))


@pytest.mark.parametrize("rows", [2, 4])
def test_the_next_state_actor_takes_up_what_the_last_one_left(
    worker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
):
    async def story() -> dict[str, Any]:
        first = queue(tmp_path)
        job = await first.submit(ask(rows=rows))
        await running(first, job["id"], tmp_path)
        second = queue(tmp_path)
        await second.resume()
        assert second.counts() == {"queued": 0, "running": 0}  # Its owner lives.
        await first.close()
        (tmp_path / "jobs" / job["id"] / "go").touch()
        monkeypatch.setattr(module, "LOST_SECONDS", -1.0)
        await second.resume()
        told = await finished(second, job["id"])
        await second.close()
        return told

    assert asyncio.run(story())["status"] == "done"


def test_a_finished_job_is_not_run_again_when_its_result_can_not_be_read(
    worker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    read = Folder.read_json

    def unreachable(folder: Folder, path: str) -> Any:
        if path == "result.json":
            raise StorageError("the store is away")
        return read(folder, path)

    async def story() -> None:
        async with closing(queue(tmp_path)) as first:
            job = await first.submit(ask())
            await finished(first, job["id"])
        monkeypatch.setattr(module, "LOST_SECONDS", -1.0)
        async with closing(queue(tmp_path)) as second:
            with monkeypatch.context() as patched:
                patched.setattr(Folder, "read_json", unreachable)
                await second.resume()
                assert second.counts() == {"queued": 0, "running": 0}
                with pytest.raises(StorageError, match="the store is away"):
                    await second.status(job["id"])
            await second.resume()
            assert second.counts() == {"queued": 0, "running": 0}
            assert (await second.status(job["id"]))["status"] == "done"

    asyncio.run(story())


ODD = {
    "another format": '{"format": "synthmill.job/2", "id": "x"}',
    "a list": "[1]",
    "a number": "3",
    "no JSON": "{",
    "empty": "{}",
}


@pytest.mark.parametrize("odd", list(ODD))
def test_an_odd_record_keeps_no_other_job_waiting(
    worker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str
):
    monkeypatch.setattr(module, "LOST_SECONDS", -1.0)
    for digit, paper in enumerate(("request", "result")):
        folder = tmp_path / "jobs" / f"job-{digit:024}"
        folder.mkdir(parents=True)
        (folder / f"{paper}.json").write_text(ODD[odd])
    left = new_job(REQUEST, "customers@1", "key").model_copy(update={"id": "job-" + "f" * 24})
    folder = tmp_path / "jobs" / left.id
    folder.mkdir()
    (folder / "request.json").write_text(left.model_dump_json())

    async def story() -> dict[str, Any]:
        jobs = queue(tmp_path)
        await jobs.resume()
        told = await finished(jobs, left.id)
        await jobs.close()
        return told

    assert asyncio.run(story())["status"] == "done"


def test_whatever_goes_wrong_the_watch_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def story() -> None:
        jobs, again = queue(tmp_path), asyncio.Event()
        faults = iter([StorageError("the store is away"), RuntimeError("deque mutated during iteration")])

        async def resume() -> None:
            for fault in faults:
                raise fault
            again.set()

        monkeypatch.setattr(module, "ALIVE_SECONDS", 0.0)
        monkeypatch.setattr(jobs, "resume", resume)
        watching = asyncio.create_task(jobs.watch())
        async with asyncio.timeout(20):
            await again.wait()
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching

    asyncio.run(story())


def test_jobs_are_listed_where_nothing_changes_them(
    worker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def story() -> None:
        told, seen, loop = [], asyncio.Event(), asyncio.get_running_loop()

        def say_alive(job_ids: list[str]) -> None:
            told.extend(job_ids)
            loop.call_soon_threadsafe(seen.set)

        async with closing(queue(tmp_path)) as jobs:
            asked = [await jobs.submit(ask(rows=2)) for _ in range(2)]
            monkeypatch.setattr(jobs, "_say_alive", say_alive)
            watching = asyncio.create_task(jobs.watch())
            async with asyncio.timeout(20):
                await seen.wait()
            watching.cancel()
        assert told == [job["id"] for job in asked]

    asyncio.run(story())


def test_jobs_that_come_at_once_are_counted_too(worker: Path, tmp_path: Path):
    async def story() -> None:
        async with closing(queue(tmp_path, max_waiting=2)) as jobs:
            answers = await asyncio.gather(
                *(jobs.submit(ask(rows=2)) for _ in range(12)), return_exceptions=True
            )
            refused = [answer for answer in answers if isinstance(answer, BusyError)]
            assert len(refused) == 9
            assert {str(fault) for fault in refused} == {"2 jobs wait already, the most that may"}
            assert jobs.counts() == {"queued": 2, "running": 1}

    asyncio.run(story())
