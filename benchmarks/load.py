"""A load generator that leaves the machine to the server: keep-alive connections on one event loop, answers
read by their length.

Two ways to ask. `closed`: so many connections, each sends its next request when the last one is answered;
what comes out is the rate. `paced`: requests leave at fixed times whether or not the ones before are
answered, and latency counts from the time a request should have left, so that a stall shows in full. Targets
are loopback addresses, and every run ends by itself.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost")
LONGEST_SECONDS = 900.0
GRACE_SECONDS = 30.0


@dataclass
class Outcome:
    """What a run saw: latencies of 200s in seconds, counts of all statuses; 0 is a connection that broke."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    """When each of them was answered, in seconds from the start."""
    statuses: Counter[int] = field(default_factory=Counter)

    def summary(self) -> dict[str, Any]:
        ordered = sorted(self.latencies)
        return {
            "requests_per_second": len(ordered) / self.seconds,
            "p50_ms": 1e3 * quantile(ordered, 0.5),
            "p99_ms": 1e3 * quantile(ordered, 0.99),
            "requests": sum(self.statuses.values()),
            "errors": sum(count for status, count in self.statuses.items() if status != 200),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
        }


def quantile(ordered: list[float], share: float) -> float:
    """Of sorted values; NaN of none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


@dataclass(frozen=True)
class Request:
    """One POST, sent again and again."""

    url: str
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        if parts.hostname not in LOOPBACK or parts.port is None:
            raise ValueError(f"{self.url}: only http://127.0.0.1:PORT is a target")
        return parts.hostname, parts.port

    def wire(self) -> bytes:
        """The bytes of the request."""
        parts, body = urlsplit(self.url), json.dumps(self.body).encode()
        headers = {
            "Host": parts.netloc,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **self.headers,
        }
        lines = [f"POST {parts.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection(asyncio.Protocol):
    """One keep-alive connection; an exchange at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[int] | None = None
        self._transport: Any = None

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent: not once the server has closed a connection that was idle, as it
        may."""
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, wire: bytes) -> int:
        """Send, and the status of the answer; ConnectionError when it broke."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(wire)
        return await self._answer

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        if b"\r\ncontent-length: " in head:
            length = int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
            whole = head_end + 4 + length
        elif self._buffer.endswith(b"\r\n0\r\n\r\n"):
            whole = len(self._buffer)
        else:
            return
        if len(self._buffer) >= whole:
            self._buffer = self._buffer[whole:]
            if b"\r\nconnection: close" in head:
                self._transport.close()
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(int(head[9:12]))

    def connection_lost(self, fault: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("cut"))


def closed(request: Request, *, connections: int, seconds: float, warm_seconds: float = 0.0) -> Outcome:
    """As many requests as `connections` connections get answered in `seconds`, after a warm-up that does not
    count."""
    return _run(_closed(request, connections, warm_seconds, seconds))


def paced(request: Request, *, per_second: float, connections: int, seconds: float) -> Outcome:
    """`per_second` requests a second for `seconds`, spread over the connections."""
    return _run(_paced(request, per_second, connections, seconds))


def _run(work: Any) -> Outcome:
    try:
        import uvloop
    except ImportError:
        outcome: Outcome = asyncio.run(work)
        return outcome
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def _closed(request: Request, connections: int, warm_seconds: float, seconds: float) -> Outcome:
    outcome = Outcome(seconds=min(seconds, LONGEST_SECONDS))
    begin = time.perf_counter() + warm_seconds
    end = begin + outcome.seconds
    wire = request.wire()

    async def worker() -> None:
        connection = await _connect(request)
        while (sent := time.perf_counter()) < end:
            connection = connection if connection.is_open else await _connect(request)
            status = await _exchange(connection, wire)
            done = time.perf_counter()
            if begin <= done < end:
                _note(outcome, status, done - sent, done - begin)
        connection.close()

    await asyncio.wait_for(
        asyncio.gather(*(worker() for _ in range(connections))),
        warm_seconds + outcome.seconds + GRACE_SECONDS,
    )
    return outcome


async def _paced(request: Request, per_second: float, connections: int, seconds: float) -> Outcome:
    outcome = Outcome(seconds=min(seconds, LONGEST_SECONDS))
    begin = time.perf_counter()
    wire = request.wire()
    due: Iterator[float] = (begin + i / per_second for i in range(int(outcome.seconds * per_second)))

    async def worker() -> None:
        connection = await _connect(request)
        for moment in due:
            await asyncio.sleep(max(0.0, moment - time.perf_counter()))
            connection = connection if connection.is_open else await _connect(request)
            status = await _exchange(connection, wire)
            done = time.perf_counter()
            _note(outcome, status, done - moment, done - begin)
        connection.close()

    await asyncio.wait_for(
        asyncio.gather(*(worker() for _ in range(connections))), outcome.seconds + GRACE_SECONDS
    )
    return outcome


async def _connect(request: Request) -> Connection:
    host, port = request.address
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port)
    return connection


async def _exchange(connection: Connection, wire: bytes) -> int:
    try:
        return await connection.exchange(wire)
    except ConnectionError:
        return 0


def _note(outcome: Outcome, status: int, seconds: float, at: float) -> None:
    outcome.statuses[status] += 1
    if status == 200:
        outcome.latencies.append(seconds)
        outcome.finished.append(at)
