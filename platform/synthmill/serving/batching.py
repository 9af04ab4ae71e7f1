"""One queue for everything a replica computes: small requests share a call of the model, large ones take
turns piece by piece.

A batch is whatever waits when a thread is free, up to a number of rows; nobody waits for a batch to fill. The
model and the encoders run on threads, never on the event loop.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from synthmill.errors import SynthmillError

if TYPE_CHECKING:
    from synthmill.serving.formats import Drawn
    from synthmill.serving.metrics import Metrics

T = TypeVar("T")

RATE_WEIGHT = 0.2
FIRST_ROWS_PER_SECOND = 50_000.0


class BusyError(SynthmillError):
    """The queue is full; `retry_seconds` is when it should be shorter."""

    def __init__(self, message: str, retry_seconds: int) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(message)


class Source(Protocol):
    """Where unseeded rows come from. Requests of one source (equal, by hash) share batches."""

    @property
    def ref(self) -> str:
        """The model version, for metrics."""

    @property
    def row_cost(self) -> int:
        """What one row counts in the queue and in a batch; 1 for a row of a table."""

    def draw(self, rows: int) -> "Drawn":
        """So many fresh rows; called on a thread."""


@dataclass
class _Waiting:
    rows: int
    cost: int
    finish: Callable[["Drawn", int], Any]
    answer: "asyncio.Future[Any]"


@dataclass
class _Group:
    """Requests of one source that wait; it stands in the queue once, however many they are."""

    source: Source
    waiting: deque[_Waiting] = field(default_factory=deque)


@dataclass
class _Piece:
    ref: str
    work: Callable[[], Any]
    answer: "asyncio.Future[Any]"


class WorkQueue:
    """The threads of a replica and the queue before them."""

    def __init__(
        self, *, threads: int, batch_rows: int, max_queued_rows: int, max_streams: int, metrics: "Metrics"
    ) -> None:
        self.batch_rows = batch_rows
        self.max_queued_rows = max_queued_rows
        self.max_streams = max_streams
        self.queued_rows = 0
        self.encoding_rows = 0
        self.streams = 0
        self._metrics = metrics
        self._threads = threads
        self._last_load, self._last_used = time.monotonic(), time.process_time()
        self._rows_per_second = FIRST_ROWS_PER_SECOND
        self._queue: asyncio.Queue[_Group | _Piece] = asyncio.Queue()
        self._groups: dict[Source, _Group] = {}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="generate")
        # Beside the generating threads: scaling one large image takes as long as thousands of rows.
        self._encoders = ThreadPoolExecutor(threads, thread_name_prefix="encode")
        self._workers = [asyncio.create_task(self._work()) for _ in range(threads)]

    async def close(self) -> None:
        """Stop; what waits is abandoned."""
        await end(self._workers)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._encoders.shutdown(wait=False, cancel_futures=True)

    async def draw(self, source: Source, rows: int, finish: Callable[["Drawn", int], T]) -> T:
        """`finish(drawn, start)` of a batch that holds `rows` rows for this request from `start` on; both run
        on a thread.

        Raises:
            BusyError: too many rows wait already.
        """
        cost = rows * source.row_cost
        with self.waiting(cost):
            waiting = _Waiting(rows, cost, finish, asyncio.get_running_loop().create_future())
            group = self._groups.get(source)
            if group is None:
                group = self._groups[source] = _Group(source)
                self._queue.put_nowait(group)
            group.waiting.append(waiting)
            result: T = await waiting.answer
            return result

    @contextmanager
    def waiting(self, rows: int) -> Iterator[None]:
        """A small request, from its arrival until it is computed; `rows` is the work that it makes, in rows
        of a table.

        Raises:
            BusyError: too many rows wait already.
        """
        self._require_room(self.queued_rows, rows)
        self.queued_rows += rows
        try:
            yield
        finally:
            self.queued_rows -= rows

    @contextmanager
    def encoding(self, rows: int) -> Iterator[None]:
        """A request whose rows are being encoded by `encode`; `rows` is that work, in rows of a table. It has
        a bound of its own, or large images would turn away requests for rows.

        Raises:
            BusyError: too much waits to be encoded already.
        """
        self._require_room(self.encoding_rows, rows)
        self.encoding_rows += rows
        try:
            yield
        finally:
            self.encoding_rows -= rows

    def _require_room(self, waiting: int, rows: int) -> None:
        # One request always fits, whatever its size: its own limits are checked before.
        if waiting and waiting + rows > self.max_queued_rows:
            raise BusyError(
                f"{waiting:,} rows wait already and this replica queues at most {self.max_queued_rows:,}",
                self.retry_seconds(),
            )

    async def run(self, ref: str, work: Callable[[], T]) -> T:
        """One piece of a request that shares no batch, when its turn comes; `ref` is the model version, for
        metrics."""
        piece = _Piece(ref, work, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(piece)
        result: T = await piece.answer
        return result

    async def encode(self, ref: str, work: Callable[[], T]) -> T:
        """One piece of encoding that rows of other requests need not wait for."""
        return await self._on_thread(self._encoders, ref, work)

    @contextmanager
    def stream(self) -> Iterator[None]:
        """A large request, from its first piece to its last.

        Raises:
            BusyError: as many as allowed are being answered.
        """
        if self.streams >= self.max_streams:
            raise BusyError(
                f"{self.streams} large requests are being answered, the most this replica takes",
                self.retry_seconds(),
            )
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    def retry_seconds(self) -> int:
        """When the rows that wait now should be done, in whole seconds, at least 1."""
        return max(1, min(60, round(self.queued_rows / self._rows_per_second)))

    def load(self) -> dict[str, float]:
        """What the autoscaler reads: work that waits, and the share of its processors that this process
        used since the last time.

        A large request counts as a full batch: it occupies one replica, and no other can help it.
        """
        now, used = time.monotonic(), time.process_time()
        busy = (used - self._last_used) / max(now - self._last_load, 1e-3) / self._threads
        self._last_load, self._last_used = now, used
        waiting = self.queued_rows + self.encoding_rows + self.streams * self.batch_rows
        return {"queued_rows": float(waiting), "busy": busy}

    async def _work(self) -> None:
        while True:
            item = await self._queue.get()
            if isinstance(item, _Piece):
                await self._run_piece(item)
            else:
                await self._run_batch(item)

    async def _run_piece(self, piece: _Piece) -> None:
        # The client has gone.
        if piece.answer.done():
            return
        try:
            result = await self._on_thread(self._pool, piece.ref, piece.work)
        except Exception as fault:
            _fail(piece.answer, fault)
        else:
            _answer(piece.answer, result)

    async def _run_batch(self, group: _Group) -> None:
        batch = self._take(group)
        if not batch:
            return
        rows = sum(waiting.rows for waiting in batch)
        started = time.monotonic()
        try:
            results = await self._on_thread(
                self._pool, group.source.ref, lambda: _compute(group.source, rows, batch)
            )
        except Exception as fault:
            for waiting in batch:
                _fail(waiting.answer, fault)
            return
        ref, seconds = group.source.ref, time.monotonic() - started
        # A moving average: the wait that a 429 names should follow what the models do now.
        self._rows_per_second += RATE_WEIGHT * (rows / max(seconds, 1e-6) - self._rows_per_second)
        self._metrics.add("synthmill_batches_total", 1, model=ref)
        self._metrics.add("synthmill_batch_rows_total", rows, model=ref)
        self._metrics.add("synthmill_batch_requests_total", len(batch), model=ref)
        self._metrics.add("synthmill_batch_capacity_rows_total", self.batch_rows, model=ref)
        for waiting, result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                _fail(waiting.answer, result)
            else:
                _answer(waiting.answer, result)

    async def _on_thread(self, pool: ThreadPoolExecutor, ref: str, work: Callable[[], T]) -> T:
        """The work's result; its seconds are added to the model's, also when it fails."""
        spent = 0.0

        def timed() -> T:
            nonlocal spent
            started = time.perf_counter()
            try:
                return work()
            finally:
                spent = time.perf_counter() - started

        try:
            return await asyncio.get_running_loop().run_in_executor(pool, timed)
        finally:
            self._metrics.add("synthmill_model_seconds_total", spent, model=ref)

    def _take(self, group: _Group) -> list[_Waiting]:
        """The next batch of a group; those whose client has gone are dropped. What is left queues up again,
        behind the others."""
        batch: list[_Waiting] = []
        cost = 0
        while group.waiting and (not batch or cost + group.waiting[0].cost <= self.batch_rows):
            waiting = group.waiting.popleft()
            # A client that has gone cancelled its future: its rows are not generated.
            if not waiting.answer.done():
                batch.append(waiting)
                cost += waiting.cost
        if group.waiting:
            self._queue.put_nowait(group)
        else:
            del self._groups[group.source]
        return batch


def _compute(source: Source, rows: int, batch: list[_Waiting]) -> list[Any]:
    drawn = source.draw(rows)
    # A request that can't be encoded must not fail the others of its batch.
    results: list[Any] = []
    start = 0
    for waiting in batch:
        try:
            results.append(waiting.finish(drawn, start))
        except Exception as fault:
            results.append(fault)
        start += waiting.rows
    return results


def _answer(future: "asyncio.Future[Any]", result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", fault: Exception) -> None:
    if not future.done():
        future.set_exception(fault)


async def end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they are done: in Python 3.11 one that waits with a time limit can swallow a
    cancellation."""
    while waiting := [task for task in tasks if not task.done()]:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=1.0)
