"""A large answer while it is sent, and its end: whatever ends it, the work behind it ends at once.

Python closes an abandoned generator when its last reference goes, and a traceback in a cycle preserves one
until the garbage collector runs, which an idle process seldom does. So nothing here waits for that.
"""

from collections.abc import AsyncGenerator

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class Stream:
    """Bytes of which the first are computed already; `aclose` ends the work, also before anything was
    read."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None]) -> None:
        self._first: bytes | None = first
        self._rest = rest

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, None
        return first if first is not None else await anext(self._rest)

    async def aclose(self) -> None:
        """Stop the work; may be called again, and after the end."""
        self._first = None
        await self._rest.aclose()


class ClosingResponse(StreamingResponse):
    """Sends a stream and closes it: after its end, when the client has gone, and when it is cancelled before
    its first byte."""

    def __init__(self, stream: Stream, *, media_type: str, headers: dict[str, str]) -> None:
        super().__init__(stream, media_type=media_type, headers=headers)
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._stream.aclose()
