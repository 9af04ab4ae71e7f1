import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest

from synthmill.serving.batching import BusyError, WorkQueue
from synthmill.serving.formats import Drawn
from synthmill.serving.metrics import Metrics, Series


@dataclass(eq=False)
class Numbers:
    """Draws 0, 1, 2, ...; records each call, and waits in it until `go` is set."""

    ref: str = "numbers@1"
    row_cost: int = 1
    calls: list[int] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    started: threading.Event = field(default_factory=threading.Event)
    threads: set[str] = field(default_factory=set)

    def draw(self, rows: int) -> Drawn:
        self.started.set()
        self.go.wait(10)
        self.threads.add(threading.current_thread().name)
        self.calls.append(rows)
        return Drawn(pa.table({"n": list(range(rows))}))


def work_queue(**changed: Any) -> WorkQueue:
    return WorkQueue(
        **{
            "threads": 1,
            "batch_rows": 100,
            "max_queued_rows": 1000,
            "max_streams": 2,
            "metrics": Metrics(),
            **changed,
        }
    )


def ask(queue: WorkQueue, source: Numbers, rows: int) -> "asyncio.Task[list[int]]":
    return asyncio.ensure_future(
        queue.draw(source, rows, lambda drawn, start: drawn.table["n"].slice(start, rows).to_pylist())
    )


async def begun(source: Numbers) -> None:
    """When the first call holds the thread."""
    await asyncio.to_thread(source.started.wait, 10)


def test_what_waits_shares_one_call_up_to_a_number_of_rows():
    async def story() -> tuple[Numbers, list[list[int]]]:
        source, queue = Numbers(), work_queue()
        first = ask(queue, source, 5)
        await begun(source)
        rest = [ask(queue, source, 30) for _ in range(5)]
        await asyncio.sleep(0)
        source.go.set()
        answers = [await first, *await asyncio.gather(*rest)]
        await queue.close()
        return source, answers

    source, answers = asyncio.run(story())
    assert source.calls == [5, 90, 60]
    assert answers[1:4] == [list(range(30)), list(range(30, 60)), list(range(60, 90))]
    assert [len(answer) for answer in answers] == [5, 30, 30, 30, 30, 30]
    assert all(name.startswith("generate") for name in source.threads)


def test_the_event_loop_goes_on_while_the_model_works():
    async def story() -> bool:
        source, queue = Numbers(), work_queue()
        waiting = ask(queue, source, 1)
        await begun(source)
        answered_meanwhile = await asyncio.wait_for(asyncio.sleep(0, True), 5)
        source.go.set()
        await waiting
        await queue.close()
        return answered_meanwhile

    assert asyncio.run(story())


def test_sources_do_not_mix_and_take_turns():
    async def story() -> tuple[Numbers, Numbers, list[str]]:
        one, two, queue, order = Numbers("one@1"), Numbers("two@1"), work_queue(), []
        first = ask(queue, one, 1)
        await begun(one)
        tasks = [ask(queue, one, 80), ask(queue, one, 80), ask(queue, two, 80)]
        for name, task in zip(("one", "one again", "two"), tasks, strict=True):
            task.add_done_callback(lambda _, name=name: order.append(name))
        await asyncio.sleep(0)
        one.go.set()
        two.go.set()
        await asyncio.gather(first, *tasks)
        await queue.close()
        return one, two, order

    one, two, order = asyncio.run(story())
    assert one.calls == [1, 80, 80]
    assert two.calls == [80]
    assert order == ["one", "two", "one again"]


def test_pieces_of_large_requests_and_batches_alternate():
    async def story() -> list[str]:
        source, queue, order = Numbers(), work_queue(), []

        async def large(name: str) -> None:
            for _ in range(3):
                await queue.run("large@1", lambda: order.append(name))

        first = ask(queue, source, 1)
        await begun(source)
        streams = [asyncio.ensure_future(large(name)) for name in "ab"]
        await asyncio.sleep(0)
        small = ask(queue, source, 1)
        small.add_done_callback(lambda _: order.append("small"))
        await asyncio.sleep(0)
        source.go.set()
        await asyncio.gather(first, small, *streams)
        await queue.close()
        return order

    order = asyncio.run(story())
    assert order[:2] == ["a", "b"]
    assert order.index("small") <= 4


def test_a_full_queue_refuses_with_a_time():
    async def story() -> tuple[BusyError, list[int]]:
        source, queue = Numbers(), work_queue(max_queued_rows=50)
        held = [ask(queue, source, 30), ask(queue, source, 20)]
        await begun(source)
        with pytest.raises(
            BusyError, match="50 rows wait already and this replica queues at most 50"
        ) as fault:
            await ask(queue, source, 1)
        source.go.set()
        await asyncio.gather(*held)
        after = await ask(queue, source, 50)
        await queue.close()
        assert queue.queued_rows == 0
        return fault.value, after

    fault, after = asyncio.run(story())
    assert fault.retry_seconds >= 1
    assert len(after) == 50


def test_one_request_above_the_queue_is_taken_when_nothing_waits():
    async def story() -> int:
        source, queue = Numbers(), work_queue(max_queued_rows=10)
        source.go.set()
        answer = await ask(queue, source, 60)
        await queue.close()
        return len(answer)

    assert asyncio.run(story()) == 60


def test_a_client_that_left_costs_nothing():
    async def story() -> list[int]:
        source, queue = Numbers(), work_queue()
        first = ask(queue, source, 1)
        await begun(source)
        gone, stays = ask(queue, source, 50), ask(queue, source, 7)
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        source.go.set()
        await asyncio.gather(first, stays)
        await queue.close()
        assert queue.queued_rows == 0
        return source.calls

    assert asyncio.run(story()) == [1, 7]


def test_a_fault_stays_with_its_request():
    async def story() -> list[Any]:
        source, queue = Numbers(), work_queue()
        source.go.set()

        def broken(drawn: Drawn, start: int) -> None:
            raise ValueError("encoder")

        answers = await asyncio.gather(
            queue.draw(source, 3, broken), ask(queue, source, 2), return_exceptions=True
        )
        await queue.close()
        return answers

    fault, answer = asyncio.run(story())
    assert isinstance(fault, ValueError)
    assert len(answer) == 2


def test_a_model_that_fails_answers_everybody_and_the_lane_goes_on():
    class Broken(Numbers):
        def draw(self, rows: int) -> Drawn:
            raise RuntimeError("model")

    async def story() -> tuple[list[Any], list[int]]:
        queue, good = work_queue(), Numbers()
        good.go.set()
        bad = Broken()
        faults = await asyncio.gather(ask(queue, bad, 1), ask(queue, bad, 1), return_exceptions=True)
        answer = await ask(queue, good, 3)
        await queue.close()
        return faults, answer

    faults, answer = asyncio.run(story())
    assert [type(fault) for fault in faults] == [RuntimeError, RuntimeError]
    assert len(answer) == 3


def test_large_requests_are_bounded_and_count_as_load():
    async def story() -> tuple[dict[str, float], float]:
        queue = work_queue()
        with queue.stream(), queue.stream():
            load = queue.load()
            with pytest.raises(BusyError, match="2 large requests"), queue.stream():
                pass
        after = queue.load()["queued_rows"]
        await queue.close()
        return load, after

    load, after = asyncio.run(story())
    assert load["queued_rows"] == 200.0
    assert after == 0.0


def test_load_tells_how_busy_the_process_was_since_the_last_time():
    def spin(seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    async def story() -> tuple[float, float]:
        queue = work_queue()
        queue.load()
        started = time.monotonic()
        await asyncio.to_thread(spin, 0.2)
        busy = queue.load()["busy"]
        await queue.close()
        return busy, time.monotonic() - started

    busy, seconds = asyncio.run(story())
    assert busy >= 0.2 / seconds / 2


def test_batch_fill_is_counted():
    async def story() -> dict[Series, float]:
        source, metrics = Numbers(), Metrics()
        queue = work_queue(metrics=metrics)
        source.go.set()
        await asyncio.gather(ask(queue, source, 10), ask(queue, source, 15))
        await queue.close()
        return metrics.values()

    counted = {series.name: value for series, value in asyncio.run(story()).items()}
    assert counted["synthmill_model_seconds_total"] > 0
    assert counted["synthmill_batch_rows_total"] == 25
    assert counted["synthmill_batch_requests_total"] == 2
    assert counted["synthmill_batch_capacity_rows_total"] == 100 * counted["synthmill_batches_total"]


def test_encoding_holds_up_no_rows():
    async def story() -> list[int]:
        source, queue, go = Numbers(), work_queue(), threading.Event()
        source.go.set()
        encoding = asyncio.ensure_future(queue.encode("numbers@1", lambda: go.wait(10)))
        await asyncio.sleep(0)
        rows = await ask(queue, source, 3)
        assert not encoding.done()
        go.set()
        assert await encoding
        await queue.close()
        return rows

    assert asyncio.run(story()) == [0, 1, 2]


def test_costly_rows_fill_queue_and_batches_sooner():
    async def story() -> list[int]:
        source, queue = Numbers(row_cost=10), work_queue(max_queued_rows=250)
        first = ask(queue, source, 1)
        await begun(source)
        rest = [ask(queue, source, 6) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="250 rows wait already"):
            await ask(queue, source, 1)
        source.go.set()
        await asyncio.gather(first, *rest)
        await queue.close()
        return source.calls

    assert asyncio.run(story()) == [1, 6, 6, 6, 6]


def test_too_much_to_encode_is_refused_and_holds_up_no_rows():
    async def story() -> list[int]:
        source, queue = Numbers(), work_queue(max_queued_rows=10)
        source.go.set()
        with queue.encoding(1000):
            with pytest.raises(BusyError, match="1,000 rows wait already"), queue.encoding(1):
                pass
            rows = await ask(queue, source, 10)
        assert queue.encoding_rows == 0
        await queue.close()
        return rows

    assert asyncio.run(story()) == list(range(10))
