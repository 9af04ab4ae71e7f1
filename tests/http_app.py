"""The application on a real socket without Ray: service, shared state and routes on one event loop, in a
thread of this process."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import uvicorn

from synthmill.serving.api import create_app
from synthmill.serving.config import ServeArgs
from synthmill.serving.service import Service
from synthmill.serving.state import StateActor, plain

STOP_SECONDS = 30.0
"""A server that does not stop must not hold up the tests after it; the thread is a daemon."""


class Running:
    """A server that answers at `url`; `service` lives on its event loop."""

    def __init__(self, args: ServeArgs) -> None:
        self.service: Service
        self.url = ""
        self._args = args
        self._ready = threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()
        if self._fault:
            raise self._fault

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS)

    def call(self, coroutine: Any) -> Any:
        """Run a coroutine on the server's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as fault:
            self._fault = fault
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        torch.set_num_threads(1)
        state = StateActor(plain(self._args), {})
        self.service = Service(self._args, state, replica="only")
        await self.service.start()
        config = uvicorn.Config(
            create_app(self.service), host="127.0.0.1", port=0, log_config=None, timeout_graceful_shutdown=2
        )
        self._server = uvicorn.Server(config)
        serving = asyncio.create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.01)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        self._ready.set()
        await serving
        await self.service.close()
        await state.close()


@contextmanager
def running(**settings: Any) -> Iterator[Running]:
    """A server with these settings."""
    server = Running(ServeArgs.model_validate(settings))
    server.start()
    try:
        yield server
    finally:
        server.stop()
