"""Whatever ends a stream ends its work at once, with the garbage collector off and tracebacks that keep every
frame alive."""

import asyncio
import contextlib
import gc
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from synthmill.serving.api import create_app
from synthmill.serving.config import ServeArgs
from synthmill.serving.service import Service
from synthmill.serving.state import StateActor, plain
from synthmill.serving.streams import Stream

SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "POST",
    "path": "/v1/models/customers/rows",
    "raw_path": b"/v1/models/customers/rows",
    "query_string": b"",
    "headers": [
        (b"host", b"127.0.0.1"),
        (b"content-type", b"application/json"),
        (b"accept", b"application/x-ndjson"),
    ],
}


class Client:
    """Takes `messages` messages of an answer; the next send waits for ever, as behind a full socket, or
    fails."""

    def __init__(self, messages: int, *, fails: bool = False) -> None:
        self.messages, self.fails = messages, fails
        self.stuck, self.left = asyncio.Event(), asyncio.Event()
        self._taken = 0
        self._body: bytes | None = json.dumps({"num_rows": 10**6, "seed": 1}).encode()

    async def receive(self) -> dict[str, Any]:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if self._taken < self.messages:
            self._taken += 1
            return
        try:
            self.stuck.set()
            if self.fails:
                raise OSError("the client has gone")
            await asyncio.Event().wait()
        except BaseException as fault:
            # What loggers and frames do by accident: only the garbage collector could free this, and all that
            # it reaches.
            fault.itself = fault
            raise


@pytest.fixture(autouse=True)
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


@asynccontextmanager
async def serving(store: Path) -> AsyncIterator[Service]:
    args = ServeArgs.model_validate({"store": str(store), "models": "customers", "insecure_local": True})
    state = StateActor(plain(args), {})
    service = Service(args, state, replica="only")
    await service.start()
    try:
        yield service
    finally:
        await service.close()
        await state.close()


BEFORE_THE_HEAD, BEFORE_THE_FIRST_PIECE, MID_STREAM = 0, 1, 4
MOMENTS = pytest.mark.parametrize("messages", [BEFORE_THE_HEAD, BEFORE_THE_FIRST_PIECE, MID_STREAM])


@MOMENTS
@pytest.mark.parametrize("how", ["disconnects", "is cancelled", "disconnects and is cancelled", "fails"])
def test_a_client_that_leaves_ends_the_work(model_store: Path, messages: int, how: str):
    async def main() -> None:
        async with serving(model_store) as service:
            client = Client(messages, fails=how == "fails")
            answering = asyncio.create_task(create_app(service)(SCOPE, client.receive, client.send))
            await client.stuck.wait()
            if not client.fails:
                assert service.queue.streams == 1
            # Ray Serve cancels the task of a client that has gone, and tells it so as well.
            if "disconnects" in how:
                client.left.set()
            if "cancelled" in how:
                answering.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await answering
            assert service.queue.streams == 0

    asyncio.run(main())


def test_a_client_that_leaves_while_the_first_piece_is_computed_ends_the_work(model_store: Path):
    async def main() -> None:
        async with serving(model_store) as service:
            client = Client(0)
            answering = asyncio.create_task(create_app(service)(SCOPE, client.receive, client.send))
            while not service.queue.streams:
                await asyncio.sleep(0)
            answering.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await answering
            assert service.queue.streams == 0

    asyncio.run(main())


def test_a_stream_that_was_never_read_can_be_closed():
    closed = []

    async def numbers() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            yield b"two"
        finally:
            closed.append(True)

    async def main() -> None:
        rest = numbers()
        unread = Stream(await anext(rest), rest)
        await unread.aclose()
        assert closed == [True]
        assert [piece async for piece in unread] == []
        rest = numbers()
        assert [piece async for piece in Stream(await anext(rest), rest)] == [b"one", b"two"]

    asyncio.run(main())
